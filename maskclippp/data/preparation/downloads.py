"""Looking at a download before work begins: is it there, is it whole."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import read_text

from .options import Options

logger = logging.getLogger(__name__)

SEE = "see datasets/README.md"
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def present_splits(needed: Mapping[str, Sequence[Path]], beside: Sequence[Path] = ()) -> list[str]:
    """Return the splits of which all inputs exist; one with none is skipped.

    Args:
        needed: split -> its files and folders.
        beside: what else of the download the message tells of if it is there.

    Raises:
        UserError: a split has some of its inputs only, or no split has any; tells all that are missing.
    """
    found, absent = [], []
    for split, paths in needed.items():
        missing = [path for path in paths if not path.exists()]
        if len(missing) == len(paths):
            absent.append(split)
        elif missing:
            rest = [path for path in paths if path not in missing]
            there = f"the rest of '{split}' is there" if len(missing) == 1 else f"of '{split}' there is {_listed(rest)}"
            raise UserError(f"{_missing(missing)}, {there}; finish the download ({SEE})")
        else:
            found.append(split)
    if not found:
        first = next(iter(needed.values()))
        there = [path for path in beside if path.exists()]
        if there:
            raise UserError(f"{_missing(first)}, although {_listed(there)} is there; finish the download ({SEE})")
        raise UserError(f"{first[0]}: missing, and nothing else to prepare is there; download it first ({SEE})")
    for split in absent:
        logger.info("%s: not downloaded, skipped", split)
    return found


def check_count(folder: Path, found: int, published: int, options: Options) -> None:
    """Compare the number of downloaded files with the published one.

    Raises:
        UserError: none at all; or not the published number, unless a part is accepted.
    """
    if not found:
        raise UserError(f"{folder}: holds none of the files that it should; unpack the download again ({SEE})")
    if published and found != published and not options.partial:
        advice = "finish the download" if found < published else "remove what does not belong to it"
        raise UserError(
            f"{folder}: {found} files, the published set has {published}; {advice}, "
            "or add --partial to work with what is there"
        )


def keep_existing(paths: Iterable[tuple[Any, Path]], where: str, options: Options) -> list[tuple[Any, Path]]:
    """Return the entries of a list whose file exists.

    Args:
        paths: entries, each with its file.
        where: the list, for the message.
        options: whether a part is accepted.

    Raises:
        UserError: files are missing and a part is not accepted, or none is there.
    """
    entries = list(paths)
    kept = [entry for entry in entries if entry[1].exists()]
    missing = len(entries) - len(kept)
    if missing and (not kept or not options.partial):
        first = next(path for _, path in entries if not path.exists())
        advice = ", or add --partial to work with what is there" if kept else ""
        raise UserError(
            f"{first}: missing, like {missing} of {len(entries)} files of {where}; finish the download{advice}"
        )
    return kept


def existing(path: Path) -> Path | None:
    """Return the path if the file is there."""
    return path if path.exists() else None


def read_stems(path: Path) -> list[str]:
    """Read a split file: one file name without suffix per line (whatever follows a blank is left out).

    Raises:
        UserError: unreadable or empty file, or a name that is more than a name.
    """
    lines = read_text(path).splitlines()
    stems = [line.split()[0] for line in lines if line.strip()]
    if not stems:
        raise UserError(f"{path}: lists no picture; download it again ({SEE})")
    wrong = next((stem for stem in stems if Path(stem).name != stem), None)
    if wrong:
        raise UserError(f"{path}: {wrong!r} is not a file name without suffix")
    return stems


def _missing(paths: Sequence[Path]) -> str:
    first, *others = paths
    archives = (first.with_name(f"{first.name}{ending}") for ending in _ARCHIVES)
    packed = next((path for path in archives if path.exists()), None)
    also = f", and so {'are' if len(others) > 1 else 'is'} {_listed(others)}" if others else ""
    return f"{first}: missing{f' ({packed.name} is not unpacked)' if packed else ''}{also}"


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
