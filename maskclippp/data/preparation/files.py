"""Looking at downloads before work begins, and writing results whole or not at all."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.data.annotations import read_json, read_label_map
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.preparation.options import Options
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write, remove_leftovers
from maskclippp.utils.parallel import run_all

logger = logging.getLogger(__name__)

_SEE = "see datasets/README.md"


@dataclass(frozen=True)
class Job:
    """One file to be made.

    Attributes:
        source: what it is made from.
        target: the file.
        details: whatever else its making needs; small, as it travels between processes.
    """

    source: Path
    target: Path
    details: Any = None


@dataclass(frozen=True)
class LabelFile:
    """A finished label map and, if it is there, its picture."""

    labels: Path
    image: Path | None


def present_splits(needed: Mapping[str, Sequence[Path]]) -> list[str]:
    """Return the splits of which all inputs exist; one with none is skipped.

    Args:
        needed: split -> its files and folders.

    Raises:
        UserError: a split has some of its inputs only, or no split has any.
    """
    found, absent = [], []
    for split, paths in needed.items():
        missing = [path for path in paths if not path.exists()]
        if len(missing) == len(paths):
            absent.append(split)
        elif missing:
            raise UserError(f"{missing[0]}: missing, the rest of '{split}' is there; finish the download ({_SEE})")
        else:
            found.append(split)
    if not found:
        first = next(iter(needed.values()))[0]
        raise UserError(f"{first}: missing, and nothing else to prepare is there; download it first ({_SEE})")
    for split in absent:
        logger.info("%s: not downloaded, skipped", split)
    return found


def list_files(folder: Path, ending: str) -> list[Path]:
    """Return the files of a folder whose name ends so, sorted; hidden ones are left out."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending) and not path.name.startswith("."))


def check_count(folder: Path, found: int, published: int, options: Options) -> None:
    """Compare the number of downloaded files with the published one.

    Raises:
        UserError: none at all; or not the published number, unless a part is accepted.
    """
    if not found:
        raise UserError(f"{folder}: holds none of the files that it should; unpack the download again ({_SEE})")
    if published and found != published and not options.partial:
        raise UserError(
            f"{folder}: {found} files, the published set has {published}; finish the download, "
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


def convert(function: Callable[[Job], None], jobs: Sequence[Job], options: Options, title: str) -> None:
    """Make the files that are not there yet.

    Raises:
        UserError: see :func:`run_all`.
    """
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    todo = [job for job in jobs if options.overwrite or not job.target.exists()]
    run_all(function, todo, workers=options.workers, title=title)
    logger.info("%s: %d made, %d were there", title, len(todo), len(jobs) - len(todo))


def verify(files: Sequence[LabelFile], *, num_classes: int, ignore_label: int, options: Options, title: str) -> None:
    """Read label maps back: sizes as those of their pictures, values 0 to ``num_classes`` - 1 or ``ignore_label``.

    Raises:
        UserError: some are wrong.
    """
    checks = [(file, num_classes, ignore_label) for file in files]
    used = np.zeros(num_classes, dtype=bool)
    for present in run_all(_used_classes, checks, workers=options.workers, title=f"checking {title}"):
        used[present] = True
    logger.info("%s: %d label maps checked, %d of %d classes occur", title, len(files), int(used.sum()), num_classes)


def _used_classes(check: tuple[LabelFile, int, int]) -> np.ndarray:
    """Return the classes of a label map, ascending."""
    file, num_classes, ignore_label = check
    size_hw = image_size_hw(file.image) if file.image else None
    labels = read_label_map(file.labels, size_hw=size_hw, num_classes=num_classes, ignore_label=ignore_label)
    values = np.unique(labels)
    return values[values < num_classes]


def existing(path: Path) -> Path | None:
    """Return the path if the file is there."""
    return path if path.exists() else None


def lists_images(path: Path, count: int) -> bool:
    """Tell whether a JSON file is there and lists so many images."""
    if not path.exists():
        return False
    content = read_json(path)
    return isinstance(content, dict) and len(content.get("images", ())) == count


def lookup(mapping: Mapping[int, int], *, size: int, default: int) -> np.ndarray:
    """Return the table (size,) int32 of a mapping; other indices get ``default``."""
    table = np.full(size, default, dtype=np.int32)
    table[list(mapping)] = list(mapping.values())
    return table


def write_image(array: np.ndarray, path: Path) -> None:
    """Save (H, W) or (H, W, 3) as the file type of the name says, with Pillow's defaults."""
    with atomic_write(path) as temporary:
        Image.fromarray(array).save(temporary)


def write_json(content: Any, path: Path) -> None:
    """Save as JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def copy_file(job: Job) -> None:
    """Copy the source of a job to its target."""
    with atomic_write(job.target) as temporary:
        shutil.copyfile(job.source, temporary)


def read_stems(path: Path) -> list[str]:
    """Read a split file: one file name without suffix per line (whatever follows a blank is left out).

    Raises:
        UserError: unreadable or empty file, or a name that is more than a name.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    stems = [line.split()[0] for line in lines if line.strip()]
    if not stems:
        raise UserError(f"{path}: lists no picture; download it again ({_SEE})")
    wrong = next((stem for stem in stems if Path(stem).name != stem), None)
    if wrong:
        raise UserError(f"{path}: {wrong!r} is not a file name without suffix")
    return stems
