"""Where files are: package data by the ``maskclippp://`` scheme, everything else as given."""

from __future__ import annotations

import os
from pathlib import Path

SCHEME = "maskclippp://"
ASSETS = Path(__file__).resolve().parent.parent / "assets"


def resolve(path: str) -> str:
    """Return the local path of ``maskclippp://NAME`` (package data) or ``path`` with ``~`` expanded."""
    if path.startswith(SCHEME):
        return str(ASSETS / path[len(SCHEME) :])
    return os.path.expanduser(path)
