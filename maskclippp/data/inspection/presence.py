"""What of a dataset is on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError

from ..datasets.completeness import complete
from ..datasets.loaders import load_listed
from ..datasets.row import DatasetRow
from ..layouts import deep_hint, too_deep


@dataclass(frozen=True)
class Presence:
    """What was found of a dataset.

    Attributes:
        row: the dataset.
        state: "present" (can be used), "partly" or "absent".
        missing: what is not there, one entry per folder or file, or per kind of file of the records.
        records: of the pictures whose files are all there.
        usable: whether that are all that its lists or folders name.
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
    missing = tuple(path for path in paths if not os.path.exists(root / path))
    if missing:
        # Pictures are often shared with other datasets: they alone do not make a dataset half present.
        others = [path for path in paths if path not in missing and path != row.image_root]
        state = "partly" if others or any(too_deep(root / path) for path in missing) else "absent"
        return Presence(row, state, tuple(f"{path}{deep_hint(root / path)}" for path in missing))
    try:
        listed = load_listed(row, str(root))
    except UserError as error:
        return Presence(row, "partly", (str(error).split(";")[0],), broken=True)
    loaded = complete(row, listed)
    usable = len(loaded.records) == len(listed.records)
    return Presence(row, "partly" if loaded.gaps else "present", loaded.gaps, tuple(loaded.records), usable)


def _needed(row: DatasetRow) -> list[str]:
    """Return the folders and files that a row names."""
    names = (row.image_root, row.sem_seg_root, row.panoptic_root, row.panoptic_json, row.instances_json)
    return [name for name in names if name]
