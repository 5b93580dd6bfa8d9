"""Writing files whole, and what is said where they cannot be."""

from __future__ import annotations

import errno

import pytest
import torch

from maskclippp.utils.errors import error_line, told_in_one_line
from maskclippp.utils.files import atomic_write
from maskclippp.utils.torch_files import save_torch


def test_a_failed_write_names_its_file_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError) as caught, atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path) and path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    line = error_line(caught.value)
    assert line.startswith(f"{path}: No space left on device; free some space there")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "a.txt"):
        (tmp_path / "b.txt").read_text()
    assert caught.value.filename == str(tmp_path / "b.txt")


def test_a_full_disk_behind_torch(monkeypatch):
    """Torch's own error speaks of a position in its file; this device is always full."""

    def fails(content, path) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="No space left") as caught:
        save_torch({}, "/dev/full")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied; take a place where you may"),
        (OSError(errno.ENOSPC, "No space left on device"), "out: No space left on device; free some space"),
        (OSError("Caught OSError in worker\nTraceback\nOSError: bad"), "OSError: bad"),
        (
            RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "),
            "DataLoader worker (pid 3) is killed",
        ),
    ],
)
def test_what_a_door_prints(error, line):
    assert told_in_one_line(error) and error_line(error, folder="out").startswith(line)
    assert "\n" not in error_line(error, folder="out")


def test_a_bug_keeps_its_traceback():
    assert (
        not told_in_one_line(RuntimeError("x")) and not told_in_one_line(KeyError("x")) and not told_in_one_line(None)
    )
