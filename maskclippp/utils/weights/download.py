"""Download of one large file: resumed where it broke off, checked, moved into place whole, once per machine."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gdown
from filelock import FileLock, Timeout
from gdown.exceptions import DownloadError, FileURLRetrievalError
from tqdm import tqdm

from ..errors import UserError

ATTEMPTS = 5
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 60.0
CHUNK_BYTES = 1 << 20
MAX_REASON = 150
BROKEN = (OSError, http.client.HTTPException, DownloadError, FileURLRetrievalError)

logger = logging.getLogger(__name__)


def download(path: str | Path, *, url: str = "", drive_id: str = "", hash_prefix: str = "") -> Path:
    """Bring a file to ``path`` unless it is there; return it.

    What arrived of a broken download stays beside it and is continued. Of several processes on a
    machine one downloads, and the others wait for it.

    Args:
        path: where the file goes; the folder is made.
        url: http or https address; or
        drive_id: id of a file on Google Drive.
        hash_prefix: first hexadecimal digits of the MD5 or SHA-256 that the file must have; empty: not checked.

    Raises:
        UserError: no connection, no such file there, or another hash; says what to do by hand.
    """
    path = Path(path)
    source = url or f"Google Drive (file {drive_id})"
    if url and not re.match(r"https?://", url):
        raise UserError(f"{url}: only http and https addresses can be downloaded")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if path.is_file():
            return path
        # gdown takes a file of its output's name for a finished one, so it must not find what another source left.
        part = path.with_name(f"{path.name}.{'drive' if drive_id else 'part'}")
        try:
            _from_drive(drive_id, part) if drive_id else _from_web(url, part)
        except BROKEN as error:
            raise UserError(_by_hand(path, source, error)) from None
        _check_hash(part, hash_prefix, source)
        os.replace(part, path)
    logger.info("%s: downloaded from %s", path, source)
    return path


def _by_hand(path: Path, source: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0][-MAX_REASON:] or type(error).__name__
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
            logger.warning("%s: the connection broke (%s), continuing", url, error)
            time.sleep(PAUSE_SECONDS)


def _continue(url: str, part: Path) -> None:
    """One connection: append what is missing; start again where the server does not know how to continue."""
    begin = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if begin and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if _total(error.headers) == begin:
                return
            part.unlink()
            return _continue(url, part)
        raise
    with answer:
        begin = begin if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0
        total = _total(answer.headers)
        with open(part, "ab" if begin else "wb") as file, _bar(part, begin, total) as bar:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"{part.stat().st_size} of {total} bytes arrived")


def _total(headers: http.client.HTTPMessage) -> int | None:
    """Size of the whole file: behind the slash of Content-Range, else the length of this answer."""
    whole = re.search(r"/(\d+)$", headers.get("Content-Range", ""))
    length = whole.group(1) if whole else headers.get("Content-Length")
    return int(length) if length else None


def _bar(part: Path, begin: int, total: int | None) -> tqdm:
    return tqdm(initial=begin, total=total, desc=part.stem, unit="B", unit_scale=True, unit_divisor=1024)


def _check_hash(part: Path, prefix: str, source: str) -> None:
    """Remove a file that has another hash: continuing it would be of no use."""
    if not prefix:
        return
    digests = [_digest(part, algorithm) for algorithm in ("md5", "sha256")]
    if not any(digest.startswith(prefix.lower()) for digest in digests):
        part.unlink()
        raise UserError(
            f"{part.stem} from {source} is damaged or another file: its MD5 begins with {digests[0][: len(prefix)]}, "
            f"expected {prefix}; it was removed, download again"
        )


def _digest(file: Path, algorithm: str) -> str:
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, "rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()
