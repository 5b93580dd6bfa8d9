"""Atomic writes: a file is either the old one or the whole new one, also after a kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` with its suffix; it replaces ``path`` on success and goes on an error.

    The parent folder is created. The data are flushed to disk before the replacement.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove the temporary files of writes to ``folder`` that a kill interrupted; nobody may be writing there."""
    for leftover in Path(folder).glob(".*.tmp*"):
        leftover.unlink(missing_ok=True)
