"""Files: whole ones are written, or none; those of others are read only if they are regular and not too large."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import UserError

MAX_TEXT_BYTES = 16 << 20
"""Largest list of names: classes, file names, settings."""

_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))


def regular_file(path: str | os.PathLike, limit: int | None = None) -> Path:
    """Return a path after looking at what is there, which nobody has opened yet; links are followed.

    Args:
        path: file of somebody else.
        limit: most bytes that it may have; None: any number.

    Raises:
        UserError: nothing there, no file but a folder, pipe or device, one that cannot be looked at (its name is too
            long, say), or a larger one.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "a device")
        raise UserError(f"{path}: this is {kind}, not a file")
    if limit is not None and found.st_size > limit:
        raise UserError(f"{path}: {found.st_size} bytes are too many for such a file (at most {limit})")
    return Path(path)


@contextmanager
def open_regular(path: str | os.PathLike, limit: int | None = None) -> Iterator[BinaryIO]:
    """Open a file of somebody else to read its bytes, see :func:`regular_file`.

    Raises:
        UserError: as there, or it must not be read.
    """
    regular_file(path, limit)
    try:
        file = open(path, "rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        yield file


def read_text(path: str | os.PathLike, limit: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a file (UTF-8, with or without its mark).

    Raises:
        UserError: see :func:`open_regular`; or the file is no text.
    """
    with open_regular(path, limit) as file:
        try:
            return file.read().decode("utf-8-sig")
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise UserError(f"{path}: not a text in UTF-8, its byte {error.start} is 0x{byte:02x}") from None


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
