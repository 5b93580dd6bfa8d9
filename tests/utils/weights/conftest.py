"""A web server on this machine that can break connections and refuse to continue them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Web:
    """What the server has and does.

    Attributes:
        url: of the one file.
        content: the file.
        break_after: bytes after which the next connections break, one entry for each.
        knows_ranges: whether a download can be continued.
        ranges: the Range header of each request, "" without.
    """

    url: str = ""
    content: bytes = bytes(range(256)) * 4000
    break_after: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def web(monkeypatch):
    from maskclippp.utils.weights import download

    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    facts = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            facts.ranges.append(asked)
            if self.path != "/weights.pth":
                return self.send_error(404)
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and facts.knows_ranges else 0
            if begin >= len(facts.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(facts.content)}")
                return self.end_headers()
            rest = facts.content[begin:]
            self.send_response(206 if begin else 200)
            if begin:
                last = len(facts.content) - 1
                self.send_header("Content-Range", f"bytes {begin}-{last}/{len(facts.content)}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: facts.break_after.pop(0)] if facts.break_after else rest)

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    facts.url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    yield facts
    server.shutdown()
    server.server_close()
