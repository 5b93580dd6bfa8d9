"""Downloads that must not be believed: other addresses, other files, odd headers, links in the way."""

from __future__ import annotations

import hashlib
import os

import pytest

from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import download as module
from maskclippp.utils.weights.download import download
from maskclippp.utils.weights.kinds import why_not_weights

PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>"


def refusal(path, **source) -> str:
    with pytest.raises(UserError) as caught:
        download(path, **source)
    text = str(caught.value)
    assert "\n" not in text and path.name in text
    return text


def left(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/w.pth", "ftp://127.0.0.1/w.pth", "file:///etc/passwd", "w.pth"]
)
def test_only_https_addresses_are_asked(tmp_path, address):
    with pytest.raises(UserError, match="only https addresses"):
        download(tmp_path / "w.pth", url=address)
    assert not left(tmp_path)


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9/weights.pth", "file:///etc/passwd", "ftp://127.0.0.1/w", "data:,x"]
)
def test_a_redirection_does_not_leave_https(web, tmp_path, target):
    web.status, web.headers = 302, {"Location": target}
    assert target in refusal(tmp_path / "weights.pth", url=web.url)
    assert not left(tmp_path) and len(web.ranges) == 1


def test_redirections_within_https_are_followed_and_those_in_a_circle_are_not(web, tmp_path):
    web.status, web.headers = 302, {"Location": web.url}
    assert "HTTP Error 302" in refusal(tmp_path / "weights.pth", url=web.url)
    assert 2 <= len(web.ranges) <= 12


@pytest.mark.parametrize("name", ["weights.pth", "weights.pkl", "weights.safetensors", "weights.pt"])
def test_a_page_stored_as_weights_is_refused(web, tmp_path, name):
    web.content = PAGE
    text = refusal(tmp_path / name, url=web.url)
    assert "no whole" in text and "(a page of a web site)" in text and not left(tmp_path)


def test_a_page_from_drive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gdown.download", lambda *, output, **_: open(output, "wb").write(PAGE))
    assert "a page of a web site" in refusal(tmp_path / "weights.pth", drive_id="x")
    assert not left(tmp_path)


def test_a_full_hash_counts_in_full(web, tmp_path):
    right = hashlib.sha256(web.content).hexdigest()
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    assert "damaged or another file" in refusal(tmp_path / "weights.pth", url=web.url, hash_prefix=wrong)
    assert download(tmp_path / "weights.pth", url=web.url, hash_prefix=right.upper()).is_file()


@pytest.mark.parametrize("length", [None, "", "-5", "many", "1e6", "9" * 5000])
def test_a_length_that_is_none_is_not_believed(web, tmp_path, length):
    web.headers = {"Content-Length": length}
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content


@pytest.mark.parametrize("length", [None, "-5"])
def test_without_a_length_the_file_itself_tells_that_it_broke_off(web, tmp_path, length):
    web.headers, web.break_after = {"Content-Length": length}, [500_000]
    assert "it breaks off or is damaged" in refusal(tmp_path / "weights.pth", url=web.url)
    assert not left(tmp_path)


@pytest.mark.parametrize(
    "told", [None, "", "bytes", "bytes 0-9/1024130", "bytes x-y/z", "bytes 7-8/*", "items 1000-1/2"]
)
def test_a_range_that_was_not_asked_for_begins_again(web, tmp_path, told):
    (tmp_path / "weights.pth.part").write_bytes(web.content[:1000])
    web.headers = {"Content-Range": told}
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert web.ranges == ["bytes=1000-", ""]


def test_a_range_without_a_total_is_continued(web, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(web.content[:1000])
    web.headers = {"Content-Range": f"bytes 1000-{len(web.content) - 1}/*"}
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert web.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("told", [None, "bytes */x", "bytes */7", "bytes */-1"])
def test_a_refused_range_begins_again(web, tmp_path, told):
    (tmp_path / "weights.pth.part").write_bytes(web.content + b"x")
    web.headers = {"Content-Range": told}
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert web.ranges == [f"bytes={len(web.content) + 1}-", ""]


@pytest.mark.parametrize("status", [204, 206, 416, 500])
def test_an_answer_without_a_file_is_final(web, tmp_path, status):
    web.status = status
    assert str(status) in refusal(tmp_path / "weights.pth", url=web.url)
    assert len(web.ranges) == 1 and not left(tmp_path)


def test_a_packed_answer_and_an_endless_one_are_refused(web, tmp_path, monkeypatch):
    web.headers = {"Content-Encoding": "gzip"}
    assert "the server packs the file" in refusal(tmp_path / "weights.pth", url=web.url)
    web.headers = {"Content-Length": str(module.MAX_BYTES + 1)}
    assert "at most" in refusal(tmp_path / "weights.pth", url=web.url)
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    web.headers = {"Content-Length": None}
    assert "more than 1000 bytes arrive" in refusal(tmp_path / "weights.pth", url=web.url)


@pytest.mark.parametrize("name", ["weights.pth.part", ".weights.pth.lock", "weights.pth.drive"])
def test_links_are_not_followed(web, tmp_path, monkeypatch, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    monkeypatch.setattr("gdown.download", lambda *, output, **_: open(output, "wb").write(PAGE))
    refusal(folder / "weights.pth", **({"drive_id": "x"} if "drive" in name else {"url": web.url}))
    assert victim.read_text() == "precious" and (folder / name).is_symlink()


def test_a_hard_link_or_a_pipe_is_not_written(web, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("precious")
    folder.mkdir()
    os.link(victim, folder / "weights.pth.part")
    assert "is no file of a download" in refusal(folder / "weights.pth", url=web.url)
    assert victim.read_text() == "precious"
    (folder / "weights.pth.part").unlink()
    os.mkfifo(folder / "weights.pth.part")
    assert "weights.pth.part" in refusal(folder / "weights.pth", url=web.url)


def test_a_link_at_the_place_itself_is_replaced(web, tmp_path):
    (tmp_path / "weights.pth").symlink_to(tmp_path / "nowhere")
    path = download(tmp_path / "weights.pth", url=web.url)
    assert not path.is_symlink() and path.read_bytes() == web.content and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["x" * 300 + ".pth", "a/" * 3000 + "w.pth"])
def test_a_name_that_is_too_long(web, tmp_path, name):
    with pytest.raises(UserError, match="File name too long") as caught:
        download(tmp_path / name, url=web.url)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.pth", b"", "it is empty"),
        ("a.pth", PAGE, "a page of a web site"),
        ("a.bin", b"PK\x03\x04" + bytes(60), "breaks off or is damaged"),
        ("a.pkl", b"PK\x03\x04", "it begins with"),
        ("a.safetensors", b"abc", "it breaks off"),
        ("a.safetensors", bytes([200, 0, 0, 0, 0, 0, 0, 0]) + b"{}", "it breaks off"),
        ("a.safetensors", b"\xff" * 8 + b"{}", "it begins with"),
        ("a.safetensors", bytes([2, 0, 0, 0, 0, 0, 0, 0]) + b"{}", ""),
        ("a.pkl", b"\x80\x02.", ""),
        ("a.json", PAGE, ""),
    ],
)
def test_what_a_file_is_by_its_first_bytes(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    found = why_not_weights(tmp_path / name)
    assert (reason in found) if reason else not found
