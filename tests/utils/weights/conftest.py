"""A web server on this machine that can break connections, refuse to continue them, and tell odd things.

Its address begins with https and its connections are plain: encryption is Python's own and needs no test.
"""

from __future__ import annotations

import http.client
import io
import threading
import urllib.request
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def weights_file() -> bytes:
    """A zip archive as torch writes it, of about a megabyte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights/data.pkl", bytes(range(256)) * 4000)
    return buffer.getvalue()


class PlainConnections(urllib.request.AbstractHTTPHandler):
    """Stands for ``HTTPSHandler``."""

    https_request = urllib.request.AbstractHTTPHandler.do_request_

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPConnection, request)


@dataclass
class Web:
    """What the server has and does.

    Attributes:
        url: of the one file.
        content: the file.
        break_after: bytes after which the next connections break, one entry for each.
        knows_ranges: whether a download can be continued.
        ranges: the Range header of each request, "" without.
        status: of the answers, 0: the right one.
        headers: what the server says instead of the truth; None: it says nothing.
    """

    url: str = ""
    content: bytes = field(default_factory=weights_file)
    break_after: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    ranges: list[str] = field(default_factory=list)
    status: int = 0
    headers: dict[str, str | None] = field(default_factory=dict)


@pytest.fixture
def web(monkeypatch):
    from maskclippp.utils.weights import download

    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "HTTPSHandler", PlainConnections)
    facts = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            facts.ranges.append(asked)
            if self.path != "/weights.pth":
                return self.send_error(404)
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and facts.knows_ranges else 0
            if begin >= len(facts.content):
                return self.tell(416, {"Content-Range": f"bytes */{len(facts.content)}"})
            rest = facts.content[begin:]
            last = len(facts.content) - 1
            continued = {"Content-Range": f"bytes {begin}-{last}/{len(facts.content)}"} if begin else {}
            self.tell(206 if begin else 200, {"Content-Length": str(len(rest)), **continued})
            self.wfile.write(rest[: facts.break_after.pop(0)] if facts.break_after else rest)

        def tell(self, status: int, headers: dict[str, str | None]) -> None:
            self.send_response(facts.status or status)
            for name, value in (headers | facts.headers).items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # clients that go away are wanted
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    facts.url = f"https://127.0.0.1:{server.server_port}/weights.pth"
    yield facts
    server.shutdown()
    server.server_close()
