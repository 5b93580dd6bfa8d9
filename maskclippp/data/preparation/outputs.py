"""Making files: those that are missing, each whole or not at all, and reading them back."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.utils.files import atomic_write, remove_leftovers
from maskclippp.utils.parallel import run_all

from ..annotations import read_json, read_label_map
from ..image_size import image_size_hw
from ..images import decode
from .options import Options

logger = logging.getLogger(__name__)


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


def copy_picture(job: Job) -> None:
    """Copy a picture that can be read; a broken one would stay where it is not looked for."""
    decode(job.source)
    copy_file(job)


def copy_file(job: Job) -> None:
    """Copy the source of a job to its target."""
    with atomic_write(job.target) as temporary:
        shutil.copyfile(job.source, temporary)
