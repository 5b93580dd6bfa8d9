"""Downloads: whole, continued, checked, once for several processes, and what is said when there is no connection."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import socket

import pytest

from maskclippp.utils.errors import UserError
from maskclippp.utils.weights.download import ATTEMPTS, download


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def only_file(folder) -> list[str]:
    return [file.name for file in folder.iterdir() if not file.name.endswith(".lock")]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_whole_file_with_the_right_hash(web, tmp_path, algorithm):
    path = tmp_path / "deep" / "weights.pth"
    prefix = hashlib.new(algorithm, web.content).hexdigest()[:6]
    assert download(path, url=web.url, hash_prefix=prefix) == path
    assert path.read_bytes() == web.content and only_file(path.parent) == ["weights.pth"]
    assert download(path, url="https://nowhere.invalid/") == path and len(web.ranges) == 1


def test_a_broken_connection_is_continued(web, tmp_path, caplog):
    web.break_after = [300_000, 200_000]
    path = download(tmp_path / "weights.pth", url=web.url, hash_prefix=hashlib.md5(web.content).hexdigest())
    assert path.read_bytes() == web.content
    assert web.ranges == ["", "bytes=300000-", "bytes=500000-"]
    assert "300000 of 1024130 bytes arrived" in caplog.text


def test_what_a_killed_process_left_is_continued(web, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(web.content[:1000])
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert web.ranges == ["bytes=1000-"]


def test_a_complete_part_is_only_moved(web, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(web.content)
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert only_file(tmp_path) == ["weights.pth"]


def test_a_part_that_is_too_long_is_thrown_away(web, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(web.content + b"x")
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content


def test_a_server_that_cannot_continue_starts_again(web, tmp_path):
    web.knows_ranges, web.break_after = False, [300_000]
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content
    assert web.ranges == ["", "bytes=300000-"]


def test_connections_that_go_on_breaking_leave_the_part(web, tmp_path):
    web.break_after = [1000] * ATTEMPTS
    with pytest.raises(UserError, match="5000 of 1024130 bytes arrived"):
        download(tmp_path / "weights.pth", url=web.url)
    assert only_file(tmp_path) == ["weights.pth.part"]
    assert download(tmp_path / "weights.pth", url=web.url).read_bytes() == web.content


def test_a_wrong_hash_leaves_nothing(web, tmp_path):
    with pytest.raises(
        UserError, match="weights.pth from https.* is damaged or another file.*expected 123456"
    ) as caught:
        download(tmp_path / "weights.pth", url=web.url, hash_prefix="123456")
    assert hashlib.md5(web.content).hexdigest()[:6] in str(caught.value)
    assert not only_file(tmp_path)


def test_no_connection_names_file_and_place(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(UserError) as caught:
        download(path, url=f"https://127.0.0.1:{_closed_port()}/weights.pth")
    text = str(caught.value)
    assert text.startswith("weights.pth cannot be downloaded from https://127.0.0.1")
    assert "refused" in text and text.endswith(f"put it at {path}") and "\n" not in text


def test_a_missing_file_is_not_asked_for_again(web, tmp_path):
    with pytest.raises(UserError, match="HTTP Error 404"):
        download(tmp_path / "weights.pth", url=web.url + "x")
    assert len(web.ranges) == 1


def test_only_web_addresses(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(UserError, match="only https"):
        download(tmp_path / "weights.pth", url=secret.as_uri())


def test_google_drive_goes_through_gdown(tmp_path, monkeypatch):
    def gdown_download(*, id, output, **_):  # noqa: A002  (gdown's own name)
        assert id == "some-id" and output.endswith("weights.pth.drive")
        with open(output, "wb") as file:
            file.write(b"\x80abc")

    monkeypatch.setattr("gdown.download", gdown_download)
    path = download(tmp_path / "weights.pth", drive_id="some-id", hash_prefix=hashlib.md5(b"\x80abc").hexdigest()[:6])
    assert path.read_bytes() == b"\x80abc" and only_file(tmp_path) == ["weights.pth"]


def _download_in_child(path, url, begin, queue) -> None:
    logging.getLogger("maskclippp").setLevel(logging.INFO)
    begin.wait()
    queue.put(download(path, url=url).read_bytes())


def test_of_two_processes_one_downloads(web, tmp_path):
    context = multiprocessing.get_context("fork")
    begin, queue = context.Event(), context.Queue()
    children = [
        context.Process(target=_download_in_child, args=(tmp_path / "weights.pth", web.url, begin, queue))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    begin.set()
    results = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert results == [web.content] * 2 and len(web.ranges) == 1
