"""Whether all of a dataset is on disk: what is missing, how many of how many, and what is left to be used."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError

from ..layouts import deep_hint
from .row import DatasetRow

Record = dict[str, Any]

_FILE_KINDS = {"file_name": "pictures", "sem_seg_file_name": "label maps", "pan_seg_file_name": "panoptic PNGs"}
CONSENT = "DATASETS.ALLOW_INCOMPLETE"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A dataset as it is on disk.

    Attributes:
        records: of the pictures that can be used.
        total: pictures that the dataset should have.
        gaps: what is missing, one text for each kind; empty: nothing.
    """

    records: list[Record]
    total: int
    gaps: tuple[str, ...] = ()


def complete(row: DatasetRow, found: Loaded) -> Loaded:
    """Leave out the records whose files are missing, and compare with the known size of the dataset.

    A dataset that has its published number of pictures, or that number without those that its published preparation
    leaves out, is complete, whatever else lies in its folders.
    """
    absent, gaps = set(), list(found.gaps)
    for key, places, count in _missing_files(found.records):
        absent.update(places)
        first = found.records[places[0]][key]
        gaps.append(f"{len(places)} of {count} {_FILE_KINDS[key]} are missing, first {first}{deep_hint(first)}")
    records = [record for place, record in enumerate(found.records) if place not in absent]
    total = max(found.total, row.num_images)
    if not row.num_images:
        return Loaded(records, total, tuple(gaps))
    if len(records) >= row.num_images or (not absent and len(records) == row.num_images - row.num_left_out):
        return Loaded(records, len(records))
    lacking = row.num_images - len(records)
    return Loaded(
        records, row.num_images, tuple(gaps or [f"{lacking} of the {row.num_images} published pictures are missing"])
    )


def agreed(row: DatasetRow, loaded: Loaded, allow_incomplete: bool) -> Loaded:
    """Return the dataset, if it is complete or nobody minds; say what is missing.

    Raises:
        UserError: something is missing and ``allow_incomplete`` is off, or nothing is left.
    """
    if not loaded.gaps:
        return loaded
    found = f"only {len(loaded.records)} of {loaded.total} pictures can be used: {', '.join(loaded.gaps)}"
    if not loaded.records:
        raise incomplete(row, found)
    if not allow_incomplete:
        raise UserError(f"{incomplete(row, found)}, or set {CONSENT} True to go on with the rest")
    logger.warning("dataset '%s': %s; it is used all the same (%s)", row.name, found, CONSENT)
    return loaded


def existing(row: DatasetRow, path: Path, what: str) -> Path:
    """Return the path.

    Raises:
        UserError: nothing is there.
    """
    if not os.path.exists(path):
        raise incomplete(row, f"no {what} {path}{deep_hint(path)}")
    return path


def incomplete(row: DatasetRow, found: str) -> UserError:
    """Return the error that tells the dataset and what to do."""
    return UserError(f"dataset '{row.name}': {found}; {row.remedy}")


def _missing_files(records: Sequence[Record]) -> Iterator[tuple[str, list[int], int]]:
    """Yield for each kind of file of which some do not exist: its key, the places of those records, and all files.

    Folders are listed once each instead of asking for every file.
    """
    for key in _FILE_KINDS:
        paths = {place: os.path.split(record[key]) for place, record in enumerate(records) if key in record}
        folders = {folder: _names(folder) for folder in {folder for folder, _ in paths.values()}}
        places = [place for place, (folder, name) in paths.items() if name not in folders[folder]]
        if places:
            yield key, places, len(paths)


def _names(folder: str) -> set[str]:
    return set(os.listdir(folder or ".")) if os.path.isdir(folder or ".") else set()
