"""Where the files of a download are: listings without hidden files, and places where unpacking often puts things."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePath

from maskclippp.utils.errors import UserError

_JUNK = "__MACOSX"
_COMMON = ("images", "annotations", "annotations_instance", "training", "validation")
"""Folders that many a dataset has: found alone, they do not tell whose they are."""
_DEEPEST = 32


def is_visible(path: PurePath) -> bool:
    """Whether a file counts: names with a point in front (``._x.jpg``, ``.DS_Store``) are a system's own."""
    return not path.name.startswith(".") and path.name != _JUNK


def has_ending(path: PurePath, ending: str) -> bool:
    """Whether a name ends so, in small or capital letters, and counts."""
    return is_visible(path) and path.name.lower().endswith(ending.lower())


def list_files(folder: Path, ending: str) -> list[Path]:
    """Return the files of a folder whose name ends so, in small or capital letters, sorted; hidden ones are left out.

    Raises:
        UserError: two of them differ by the letters of their ending only.
    """
    files = sorted(path for path in folder.iterdir() if has_ending(path, ending))
    stems = {}
    for path in files:
        other = stems.setdefault(path.name[: -len(ending)], path)
        if other is not path:
            raise UserError(f"{path}: {other.name} beside it has the same name but for capital letters; remove one")
    return files


def files_below(folder: str | Path, *, into_folders: bool = True, without: Collection[Path] = ()) -> list[str]:
    """Return the paths of all files below a folder, relative to it, sorted; hidden files and folders are left out.

    Args:
        folder: where to look.
        into_folders: also in its sub-folders.
        without: sub-folders to leave out.
    """
    found, left_out = [], {os.path.abspath(path) for path in without}
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if into_folders and is_visible(PurePath(name)) and os.path.abspath(f"{parent}/{name}") not in left_out
        ]
        relative = os.path.relpath(parent, folder)
        prefix = "" if relative == "." else f"{relative}/"
        found += [prefix + name for name in files if is_visible(PurePath(name))]
    return sorted(found)


def files_by_stem(folder: Path, ending: str) -> dict[str, Path]:
    """Return {name without ending: file} of a folder, see :func:`list_files`; empty if there is no such folder."""
    return {path.name[: -len(ending)]: path for path in list_files(folder, ending)} if folder.is_dir() else {}


def holds(folder: Path, ending: str, depth: int = 0) -> bool:
    """Whether a folder has a file whose name ends so, ``depth`` folders below it."""
    return any(has_ending(path, ending) for path in folder.glob("/".join(["*"] * (depth + 1))))


def elsewhere(root: Path, relative: str | Path, suits: Callable[[Path], bool]) -> Path | None:
    """Return a place where unpacking in another folder has put what belongs to ``root / relative``.

    Tried are: one folder more anywhere on the way (``VOCtrainval/VOCdevkit/VOC2012``), the last one twice
    (``train2017/train2017``), and without the first one (``VOC2012``).

    Args:
        root: datasets root.
        relative: the place that is looked at, below the root.
        suits: tells whether a place has what is wanted.
    """
    return next((path for path in _places(root, PurePath(relative)) if suits(path)), None)


def source_folder(root: Path, relative: str | Path, ending: str) -> Path:
    """Return the folder below the root that holds files of an ending: the usual one, or else one found elsewhere.

    The usual one is returned if there is none at all.
    """
    usual = root / relative
    if holds(usual, ending):
        return usual
    return elsewhere(root, relative, lambda path: holds(path, ending)) or usual


def refuse_misplaced(root: Path, relative: str | Path, ending: str, depth: int = 0) -> None:
    """Refuse files that are used where they are, and lie elsewhere.

    Raises:
        UserError: the folder has none of them, and another one has; tells which.
    """
    usual = root / relative
    if not holds(usual, ending, depth):
        found = elsewhere(root, relative, lambda path: holds(path, ending, depth))
        if found:
            raise UserError(f"{usual}: holds no *{ending}, but {found} does; move what is in {found.name} to {usual}")


def too_deep(path: Path) -> Path | None:
    """Return the file or folder that is missing at ``path``, if it is there with a folder on the way twice."""
    nearest = itertools.islice(path.parents, _DEEPEST)  # somebody's path may have thousands
    doubled = (parent / parent.name / path.relative_to(parent) for parent in nearest if parent.name)
    candidates = (path / path.name, *doubled)
    return next((candidate for candidate in candidates if os.path.exists(candidate)), None)  # may be too long


def deep_hint(path: str | Path) -> str:
    """Return what to say of a missing file or folder, if it is there with a folder on the way twice; else ""."""
    found = too_deep(Path(path))
    return f" (it is one folder too deep, {found}: move it up)" if found else ""


def _places(root: Path, relative: PurePath) -> Iterator[Path]:
    parts = relative.parts
    patterns = ["/".join((*parts[:index], "*", *parts[index:])) for index in range(len(parts))]
    patterns.append("/".join((*parts, parts[-1])))
    if len(parts) > 1 and parts[1] not in _COMMON:
        patterns.append("/".join(parts[1:]))
    for pattern in patterns:
        yield from sorted(path for path in root.glob(pattern) if is_plain(path, root))


def is_plain(path: Path, root: Path) -> bool:
    """Whether neither a file nor a folder between it and the root is hidden."""
    return all(is_visible(PurePath(part)) for part in path.relative_to(root).parts)
