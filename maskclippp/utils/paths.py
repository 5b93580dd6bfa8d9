"""Where files are: package data by the ``maskclippp://`` scheme, configs by name, everything else as given."""

from __future__ import annotations

import os
from pathlib import Path

SCHEME = "maskclippp://"
PACKAGE = Path(__file__).resolve().parent.parent
ASSETS = PACKAGE / "assets"
CONFIGS = "configs"


def resolve(path: str) -> str:
    """Return the local path of ``maskclippp://NAME`` (package data) or ``path`` with ``~`` expanded."""
    if path.startswith(SCHEME):
        return str(ASSETS / path[len(SCHEME) :])
    return os.path.expanduser(path)


def shipped_configs() -> Path:
    """Return the folder ``configs`` of the project: a wheel holds it in the package, the repository beside it."""
    inside = PACKAGE / CONFIGS
    return inside if inside.is_dir() else PACKAGE.parent / CONFIGS


def find_config(name: str, folder: str | Path = "") -> Path | None:
    """Return the file of a config.

    Args:
        name: a path; ``~`` and ``maskclippp://`` are understood.
        folder: what it is relative to; by default the working folder.

    Returns:
        The file below ``folder``, else the project's own if the name begins with ``configs/``; None: there is neither.
    """
    path = Path(resolve(name))
    candidates = [Path(folder) / path]
    if path.parts[:1] == (CONFIGS,):
        candidates.append(shipped_configs().joinpath(*path.parts[1:]))
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)  # also names too long
