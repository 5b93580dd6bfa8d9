"""One-line errors for wrong input, and the nearest valid names for a misspelt one."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Sequence
from reprlib import Repr
from typing import Any

MAX_LINE = 1000
MAX_DETAILS = 30
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_ENDS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")


class UserError(ValueError):
    """Wrong input from outside (file, config, command line).

    The message is one line: what is wrong, where (file, key, index) and what to do. Doors print it without a traceback.
    Parts of it come from files and from other libraries: line ends become "; ", what does not print is escaped, and the
    middle of a long line is left out.

    Args:
        message: the line.
        details: the single complaints of one that counts them, a line each; only the first ones are shown.
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        shown = [f"  {as_line(detail)}" for detail in details[:MAX_DETAILS]]
        if len(details) > MAX_DETAILS:
            shown.append(f"  and {len(details) - MAX_DETAILS} more")
        super().__init__("\n".join([as_line(message), *shown]))


def as_line(text: str, limit: int = MAX_LINE) -> str:
    """Return text as one line that any terminal prints, of at most ``limit`` characters; of a longer one the middle
    goes."""
    joined = ""
    for line in filter(None, _LINE_ENDS.split(text.strip())):
        joined += (" " if joined[-1] in ":;," else "; ") + re.sub("  +", " ", line) if joined else line
    joined = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), joined)
    if len(joined) <= limit:
        return joined
    tail = limit // 4
    return f"{joined[: limit - tail - 5]} ... {joined[-tail:]}"


_short = Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 80, 80
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = _short.maxfrozenset = 6


def show(value: Any) -> str:
    """Return a value from a file for a message: a short form, whatever its size and depth."""
    try:
        return _short.repr(value)
    except (ValueError, RecursionError, MemoryError):  # a whole number of thousands of digits has no text
        return f"a {type(value).__name__}"


def first_line(error: BaseException, limit: int = 200) -> str:
    """Return the first line of another library's error for a message, or its kind where it says nothing.

    torch's advice to read files without protection is not passed on, nor the path in an error of the system.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    if not lines or "weights_only" in lines[0]:
        return type(error).__name__
    return as_line("\n".join(lines[: 2 if lines[0].endswith(":") else 1]), limit)


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def told_in_one_line(error: BaseException | None) -> bool:
    """Return whether a door tells an error in one line: wrong input, a number that is not finite, files and disks."""
    return isinstance(error, (UserError, FloatingPointError, OSError)) or _is_dead_worker(error)


def _is_dead_worker(error: BaseException | None) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


def error_line(error: BaseException, *, folder: str = "") -> str:
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
    return [by_lower[match] for match in difflib.get_close_matches(name[:200].lower(), by_lower, n=n, cutoff=0.5)]


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return "; did you mean A, B?" or, when nothing looks alike, "; valid: A, B, ..." for an error message."""
    valid = list(valid)
    close = nearest(name, valid)
    if close:
        return f"; did you mean {', '.join(close)}?"
    shown = ", ".join(sorted(valid)[:20]) or "none"
    return f"; valid: {shown}{', ...' if len(valid) > 20 else ''}"
