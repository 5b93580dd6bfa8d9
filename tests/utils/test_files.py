"""Files of others: only regular ones of bounded size; and messages that stay one line whatever stands in a file."""

from __future__ import annotations

import os
import pickle

import pytest

from maskclippp.utils.errors import MAX_LINE, UserError, as_line, first_line, show
from maskclippp.utils.files import open_regular, read_text, regular_file


@pytest.fixture
def strange_paths(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    return {
        "/dev/zero": "this is a device, not a file",
        str(tmp_path / "zero"): "this is a device, not a file",
        str(tmp_path / "pipe"): "this is a pipe, not a file",
        str(tmp_path / "folder"): "this is a folder, not a file",
        str(tmp_path / "loop"): "cannot be read: Too many levels of symbolic links",
        str(tmp_path / "missing"): "no such file",
        str(tmp_path / ("n" * 300)): "cannot be read: File name too long",
        f"{tmp_path}/{'d/' * 3000}x": "cannot be read: File name too long",
        f"{tmp_path}/a\0b": "cannot be read: embedded null byte",
        f"{tmp_path}/\ud800": "cannot be read: 'utf-8' codec can't encode",
    }


@pytest.mark.timeout(20)  # a pipe or a device would be read for ever
@pytest.mark.parametrize("reader", [regular_file, read_text])
def test_what_is_no_file_is_refused_and_not_opened(strange_paths, reader):
    for path, reason in strange_paths.items():
        with pytest.raises(UserError) as caught:
            reader(path)
        text = str(caught.value)
        assert reason in text and "\n" not in text and len(text) <= MAX_LINE, path


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "ä\n".encode())
    assert read_text(path) == "ä\n" and regular_file(path, 6) == path
    with pytest.raises(UserError, match=r"a\.txt: 6 bytes are too many for such a file \(at most 5\)"):
        read_text(path, 5)
    with open_regular(path) as file:
        assert file.read(3) == b"\xef\xbb\xbf"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"a\.txt: not a text in UTF-8, its byte 2 is 0xff"):
        read_text(path)


def test_an_error_is_one_line_that_any_terminal_prints():
    assert str(UserError("a:\n  b\r\nc\n\nd")) == "a: b; c; d"
    assert str(UserError("\x1b[31mred\x00\u2028\ud800")) == "\\x1b[31mred\\x00; \\ud800"
    long = str(UserError("where: " + "x" * 100_000 + " what to do"))
    assert len(long) <= MAX_LINE and long.startswith("where: xxx") and long.endswith("xxx what to do")
    assert str(UserError("grüße an 猫")) == "grüße an 猫" and as_line("") == ""
    assert str(pickle.loads(pickle.dumps(UserError("a\nb")))) == "a; b"


def test_details_have_lines_of_their_own_and_an_end():
    lines = str(UserError("f.yaml: 40 problems", details=[f"a\n{number}" for number in range(40)])).split("\n")
    assert lines[:2] == ["f.yaml: 40 problems", "  a; 0"] and lines[-1] == "  and 10 more" and len(lines) == 32


def test_values_and_errors_of_others_are_shown_in_short():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, 10**10_000, list(range(10**5)), {"a": deep}, b"x" * 10**6):
        assert len(show(value)) < 200
    assert show("a") == "'a'" and show([1, None]) == "[1, None]"
    assert first_line(RuntimeError("use weights_only=False\nreally")) == "RuntimeError"
    assert first_line(RuntimeError("Error(s) in X:\n\tsize\nmore")) == "Error(s) in X: size"
    assert first_line(KeyError()) == "KeyError" and first_line(OSError(28, "No space", "p" * 500)) == "No space"
