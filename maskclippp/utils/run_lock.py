"""One run at a time on an output folder, by a lock that the system frees when its holder is killed."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UserError

LOCK_FILE = "run.lock"


@contextlib.contextmanager
def only_run(folder: str | Path) -> Iterator[None]:
    """Hold a folder, which is made if missing. The file of the lock stays; without its holder it means nothing.

    Raises:
        UserError: another run holds it; names its process, machine and start.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK_FILE
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder}: another run is at work here ({_holder(file)}); wait for it, stop it, or give another --tag"
        ) from None
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        _write(file, f"process {os.getpid()} on {socket.gethostname()}, started {started}\n")
        yield
    finally:
        _write(file, "")
        lock.release()


def _holder(file: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = file.read_text(encoding="utf-8").strip()
        if text:
            return text
    return "its process is not known"


def _write(file: Path, text: str) -> None:
    """The lock holds without it, on a full disk too."""
    with contextlib.suppress(OSError):
        file.write_text(text, encoding="utf-8")
