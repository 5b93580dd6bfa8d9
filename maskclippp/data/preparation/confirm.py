"""The end of a preparation: the finished dataset is read as ``tools/check_datasets.py`` reads it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskclippp.utils.parallel import run_all

from ..datasets.completeness import agreed
from ..datasets.loaders import load
from ..datasets.row import DatasetRow
from ..datasets.table import DATASETS
from ..image_size import image_size_hw
from ..inspection.scan import check_annotations
from .options import Options

logger = logging.getLogger(__name__)


def confirm(name: str, pictures: Sequence[Path | None], options: Options) -> None:
    """Load a dataset and check segments and outlines; label maps are checked where they are made.

    Nothing is done as long as pictures are missing, which may be downloaded later.

    Args:
        name: the dataset.
        pictures: the picture of each of its annotations, None for those that are not there.
        options: choices.

    Raises:
        UserError: the dataset cannot be loaded, or a segment or outline is wrong.
    """
    absent = sum(path is None for path in pictures)
    if absent:
        logger.info(
            "%s: %d of %d pictures are not there yet; look with tools/check_datasets.py when they are",
            *(name, absent, len(pictures)),
        )
        return
    records = prepared_records(DATASETS[name], options)
    if "pan_seg_file_name" in records[0] or "annotations" in records[0]:
        run_all(_check, records, workers=options.workers, title=f"checking {name}")


def prepared_records(row: DatasetRow, options: Options) -> list[dict[str, Any]]:
    """Return the records of a dataset that was prepared; of what is there, if a part of it was asked for.

    Raises:
        UserError: its lists are wrong, something is missing, or nothing is there.
    """
    loaded = load(row, str(options.root))
    if options.partial and loaded.records:
        return loaded.records
    return agreed(row, loaded, allow_incomplete=False).records


def _check(record: dict[str, Any]) -> None:
    check_annotations(record, image_size_hw(record["file_name"]))
