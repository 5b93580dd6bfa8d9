"""Atomic writes: a file is either the old one or the whole new one, also after a kill."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` with its suffix; it replaces ``path`` on success and goes on an error.

    The parent folder is created. The data are flushed to disk before the replacement.

    Raises:
        OSError: the disk is full or may not be written; its ``filename`` is ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        # A failed write tells no name at all.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove the temporary files of writes to ``folder`` that a kill interrupted; nobody may be writing there."""
    for leftover in Path(folder).glob(".*.tmp*"):
        leftover.unlink(missing_ok=True)
