"""What of a dataset is on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskclippp.data.datasets.loaders import load_records
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.layouts import too_deep
from maskclippp.utils.errors import UserError

FILE_KEYS = ("file_name", "sem_seg_file_name", "pan_seg_file_name")
"""Keys of a record that name files."""


@dataclass(frozen=True)
class Presence:
    """What was found of a dataset.

    Attributes:
        row: the dataset.
        state: "present" (can be used), "partly" or "absent".
        missing: what is not there, one entry per folder or file, or per kind of file of the records.
        records: its records, if it can be loaded.
        usable: whether every file that its records name exists.
        broken: whether its files are there, but its lists cannot be read.
    """

    row: DatasetRow
    state: str
    missing: tuple[str, ...] = ()
    records: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    usable: bool = False
    broken: bool = False


def find(row: DatasetRow, root: str | Path) -> Presence:
    """Look for the files of a dataset; lists are read, pictures are not opened.

    Args:
        row: the dataset.
        root: datasets root.
    """
    root = Path(root)
    paths = _needed(row)
    missing = tuple(path for path in paths if not (root / path).exists())
    if missing:
        # Pictures are often shared with other datasets: they alone do not make a dataset half present.
        others = [path for path in paths if path not in missing and path != row.image_root]
        state = "partly" if others or any(too_deep(root / path) for path in missing) else "absent"
        return Presence(row, state, tuple(f"{path}{_hint(root / path)}" for path in missing))
    try:
        records = tuple(load_records(row, str(root)))
    except UserError as error:
        return Presence(row, "partly", (str(error).split(";")[0],), broken=True)
    lacking = tuple(_missing_files(records))
    usable = not lacking
    if row.num_images and len(records) < row.num_images:
        lacking += (f"{row.num_images - len(records)} of {row.num_images} images",)
    return Presence(row, "partly" if lacking else "present", lacking, records, usable)


def _needed(row: DatasetRow) -> list[str]:
    """Return the folders and files that a row names."""
    names = (row.image_root, row.sem_seg_root, row.panoptic_root, row.panoptic_json, row.instances_json)
    return [name for name in names if name]


def _missing_files(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield how many files of each kind do not exist, and the first one."""
    for key in FILE_KEYS:
        paths = [Path(record[key]) for record in records if key in record]
        folders = {folder: _names(folder) for folder in {path.parent for path in paths}}
        absent = [path for path in paths if path.name not in folders[path.parent]]
        if absent:
            yield f"{len(absent)} of {len(paths)} files, first {absent[0]}{_hint(absent[0])}"


def _hint(path: Path) -> str:
    found = too_deep(path)
    return f" (it is one folder too deep: {found})" if found else ""


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
