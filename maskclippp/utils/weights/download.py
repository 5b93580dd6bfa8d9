"""Download of one large file by https: resumed where it broke off, checked, moved into place whole, once a machine."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.request import HTTPSHandler

import gdown
from filelock import FileLock, Timeout
from gdown.exceptions import DownloadError, FileURLRetrievalError
from tqdm import tqdm

from ..errors import UserError, first_line
from .kinds import why_not_weights

ATTEMPTS = 5
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 60.0
CHUNK_BYTES = 1 << 20
MAX_BYTES = 64 << 30
MAX_REASON = 150

logger = logging.getLogger(__name__)


class _Final(Exception):
    """What another attempt would not mend."""


BROKEN = (_Final, OSError, http.client.HTTPException, ValueError, DownloadError, FileURLRetrievalError)


def download(path: str | Path, *, url: str = "", drive_id: str = "", hash_prefix: str = "") -> Path:
    """Bring a file to ``path`` unless it is there; return it.

    What arrived of a broken download stays beside it and is continued. Of several processes on a
    machine one downloads, and the others wait for it.

    Args:
        path: where the file goes; the folder is made. Its suffix says what must arrive, see
            :func:`~maskclippp.utils.weights.kinds.why_not_weights`.
        url: https address, also after redirections; or
        drive_id: id of a file on Google Drive.
        hash_prefix: first hexadecimal digits, or all, of the MD5 or SHA-256 that the file must have; empty: not known.

    Raises:
        UserError: no connection, no such file there, another address than https, a file of another kind or with another
            hash; says what to do by hand.
    """
    path = Path(path)
    source = url or f"Google Drive (file {drive_id})"
    if url and not re.match(r"https://", url, re.IGNORECASE):
        raise UserError(f"{url}: only https addresses can be downloaded")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if os.path.isfile(path):
                return path
            # gdown takes a file of its output's name for a finished one, so it must not find what another source left.
            part = path.with_name(f"{path.name}.{'drive' if drive_id else 'part'}")
            _refuse_links(part)
            _from_drive(drive_id, part) if drive_id else _from_web(url, part)
            digest = _check(part, path.suffix, hash_prefix, source)
            os.replace(part, path)
    except UserError:
        raise
    except BROKEN as error:
        raise UserError(_by_hand(path, source, error)) from None
    logger.info("%s: downloaded from %s, SHA-256 %s", path, source, digest)
    return path


def _by_hand(path: Path, source: str, error: Exception) -> str:
    reason = first_line(error, limit=10 * MAX_REASON)[-MAX_REASON:]
    return (
        f"{path.name} cannot be downloaded from {source} ({reason}): try again, "
        f"or download it on another machine and put it at {path}"
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a file; it is freed by the system also when its holder is killed."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process downloads it, waiting", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _refuse_links(part: Path) -> None:
    """What is written must not go where somebody's link leads; gdown's own files have longer names."""
    for found in part.parent.iterdir():
        if found.name.startswith(part.name) and found.is_symlink():
            raise UserError(f"{found}: this is a link, and nothing is downloaded through it; remove it")


def _from_drive(drive_id: str, part: Path) -> None:
    gdown.download(id=drive_id, output=str(part), resume=True, timeout=TIMEOUT_SECONDS)


def _from_web(url: str, part: Path) -> None:
    """Download, in several connections if one breaks; an answer of the server that is an error is final."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _continue(url, part)
        except urllib.error.HTTPError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS or not part.is_file():
                raise
            logger.warning("%s: the connection broke (%s), continuing", url, first_line(error))
            time.sleep(PAUSE_SECONDS)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to https only."""

    def redirect_request(self, request, answer, code, message, headers, new_url):  # noqa: D102  (urllib's own)
        if urllib.parse.urlsplit(new_url).scheme != "https":
            raise _Final(f"it leads on to {new_url}, which is not https")
        return super().redirect_request(request, answer, code, message, headers, new_url)


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    """Send a request through https and nothing else: no plain http, no local files."""
    opener = urllib.request.OpenerDirector()
    handlers = (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _HttpsRedirects,
        HTTPSHandler,
    )
    for handler in handlers:
        opener.add_handler(handler())
    return opener.open(request, timeout=TIMEOUT_SECONDS)


def _continue(url: str, part: Path) -> None:
    """One connection: append what is missing; start again where the server does not know how to continue."""
    begin = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = _open(request)
    except urllib.error.HTTPError as error:
        if begin and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _range(error.headers)[1] == begin:
                return
            return _start_again(url, part)
        raise
    with answer:
        if answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise _Final("the server packs the file")
        begin, total = _what_comes(answer, begin)
        if begin is None:
            return _start_again(url, part)
        _store(answer, part, begin, total)
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"{part.stat().st_size} of {total} bytes arrived")


def _start_again(url: str, part: Path) -> None:
    part.unlink()
    _continue(url, part)


def _what_comes(answer: http.client.HTTPResponse, begin: int) -> tuple[int | None, int | None]:
    """Return the first byte that an answer holds (None: not the one asked for), and the size of the whole file."""
    if answer.status == HTTPStatus.OK:
        return 0, _number(answer.headers.get("Content-Length"))
    if answer.status == HTTPStatus.PARTIAL_CONTENT and begin:
        first, total = _range(answer.headers)
        return (begin, total) if first == begin else (None, None)
    raise _Final(f"the server answers with status {answer.status} and no file")


def _range(headers: http.client.HTTPMessage) -> tuple[int | None, int | None]:
    """First byte and size of the whole file by Content-Range; None: not told."""
    told = re.fullmatch(r"\s*bytes\s+(?:(\d+)-\d+|\*)/(\d+|\*)\s*", headers.get("Content-Range", ""), re.ASCII)
    return (_number(told[1]), _number(told[2])) if told else (None, None)


def _number(text: str | None) -> int | None:
    """A size that a header tells; None for what is none."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _store(answer: http.client.HTTPResponse, part: Path, begin: int, total: int | None) -> None:
    if (total or 0) > MAX_BYTES:
        raise _Final(f"the file has {total} bytes, at most {MAX_BYTES} are downloaded")
    with _open_part(part, begin) as file, _bar(part, begin, total) as bar:
        while chunk := answer.read(CHUNK_BYTES):
            try:
                file.write(chunk)
            except OSError as error:
                raise _Final(f"it cannot be written: {error.strerror}") from None
            bar.update(len(chunk))
            if file.tell() > MAX_BYTES:
                raise _Final(f"more than {MAX_BYTES} bytes arrive")


def _open_part(part: Path, begin: int) -> BinaryIO:
    """Open the temporary file to go on at a byte. It must be ours alone: no link, no pipe."""
    no_links = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        number = os.open(part, os.O_WRONLY | os.O_CREAT | no_links, 0o666)
    except OSError as error:
        raise _Final(f"{part} cannot be written: {error.strerror}") from None
    file = os.fdopen(number, "wb")
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        file.close()
        raise _Final(f"{part} is no file of a download; remove it")
    os.ftruncate(number, begin)
    file.seek(begin)
    return file


def _bar(part: Path, begin: int, total: int | None) -> tqdm:
    return tqdm(initial=begin, total=total, desc=part.stem, unit="B", unit_scale=True, unit_divisor=1024)


def _check(part: Path, suffix: str, prefix: str, source: str) -> str:
    """Return the SHA-256; remove a file of another hash or kind, which continuing would not mend."""
    digest, problem = _digest(part, "sha256"), ""
    if prefix and not digest.startswith(prefix.lower()):
        md5 = _digest(part, "md5")
        if not md5.startswith(prefix.lower()):
            problem = f"damaged or another file: its MD5 begins with {md5[: len(prefix)]}, expected {prefix}"
    if not problem:
        reason = why_not_weights(part, suffix)
        problem = f"no whole {suffix} file: {reason}" if reason else ""
    if problem:
        part.unlink()
        raise UserError(f"{part.stem} from {source} is {problem}; it was removed, download again")
    return digest


def _digest(file: Path, algorithm: str) -> str:
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, "rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
