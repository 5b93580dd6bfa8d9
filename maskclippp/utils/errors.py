"""One-line errors for wrong input, and the nearest valid names for a misspelt one."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input from outside (file, config, command line).

    The message is one line: what is wrong, where (file, key, index) and what to do. Doors print it without a traceback.
    """


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def told_in_one_line(error: BaseException | None) -> bool:
    """Return whether a door tells an error in one line: wrong input, a number that is not finite, files and disks."""
    return isinstance(error, (UserError, FloatingPointError, OSError)) or _is_dead_worker(error)


def _is_dead_worker(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


def one_line(error: BaseException, *, folder: str = "") -> str:
    """Return what a door prints of an error for which :func:`told_in_one_line` holds.

    Args:
        error: the error.
        folder: where the run writes, for an error of the disk that names no file.
    """
    if _is_dead_worker(error):
        reason = str(error).splitlines()[0].rstrip(". ")
        return f"{reason}: perhaps for want of memory; try a smaller DATALOADER.NUM_WORKERS (0: no workers)"
    if not isinstance(error, OSError):
        return str(error)
    if error.errno is None:  # from a worker it comes with a traceback in its text
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    where = error.filename or folder
    line = f"{where}: {error.strerror}" if where else str(error.strerror)
    if error.errno in _FULL:
        return f"{line}; free some space there, or write to another disk; what was whole before still is"
    if error.errno in _FORBIDDEN:
        return f"{line}; take a place where you may write (OUTPUT_DIR), or ask for the right to"
    return line


def nearest(name: str, valid: Iterable[str], n: int = 3) -> list[str]:
    """Return up to ``n`` of the ``valid`` names that look most like ``name``, best first (letter case is ignored)."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    return [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=n, cutoff=0.5)]


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return "; did you mean A, B?" or, when nothing looks alike, "; valid: A, B, ..." for an error message."""
    valid = list(valid)
    close = nearest(name, valid)
    if close:
        return f"; did you mean {', '.join(close)}?"
    shown = ", ".join(sorted(valid)[:20]) or "none"
    return f"; valid: {shown}{', ...' if len(valid) > 20 else ''}"
