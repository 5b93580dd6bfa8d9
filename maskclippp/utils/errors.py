"""One-line errors for wrong input, and the nearest valid names for a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input from outside (file, config, command line).

    The message is one line: what is wrong, where (file, key, index) and what to do. Doors print it without a traceback.
    """


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
