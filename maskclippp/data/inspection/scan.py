"""Reading every file of a dataset: pictures that cannot be decoded, sizes that differ, labels out of range."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.data.annotations import read_label_map, read_panoptic_ids
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.data.images import read_image
from maskclippp.data.instance_json import read_instances
from maskclippp.data.segmentations import checked_segmentation, segmentation_mask
from maskclippp.utils.errors import UserError
from maskclippp.utils.parallel import try_all

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def scan(row: DatasetRow, records: Sequence[Record], *, workers: int = 1) -> list[str]:
    """Read all files of a dataset.

    Args:
        row: the dataset.
        records: its records.
        workers: processes.

    Returns:
        One message per record with something wrong.

    Raises:
        UserError: the class names of the dataset are not available.
    """
    num_classes = len(row_vocabulary(row))
    own = bool(row.described_in)
    check = partial(check_record, num_classes=num_classes, ignore_label=row.ignore_label, own=own)
    _, failures = try_all(check, records, workers=workers, title=row.name)
    return failures


def instance_file_problems(row: DatasetRow, root: str | Path) -> list[str]:
    """Return what is wrong with the instance file that a panoptic dataset has for its evaluation.

    Args:
        row: the dataset.
        root: datasets root.
    """
    path = Path(root, row.instances_json)
    if row.kind != "panoptic" or not row.instances_json or not path.is_file():
        return []
    try:
        found = read_instances(path)
    except UserError as error:
        return [str(error)]
    if found.left_out:
        logger.warning("%s: %s", path, found.left_out)
    return []


def check_record(record: Record, *, num_classes: int, ignore_label: int, own: bool = False) -> None:
    """Read the files of a record.

    Args:
        record: as loaders make it.
        num_classes: labels of the label map must be below it, or ``ignore_label``.
        ignore_label: value of unlabelled pixels.
        own: of a dataset of one's own, in which masks without a pixel are wrong; some published ones have a few.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    path = record["file_name"]
    size_hw = read_image(path).shape[:2]
    told = (record.get("height", size_hw[0]), record.get("width", size_hw[1]))
    if told != size_hw:
        raise UserError(f"{path}: {size_hw[0]}x{size_hw[1]} (height x width), its annotation says {told[0]}x{told[1]}")
    if "sem_seg_file_name" in record:
        read_label_map(record["sem_seg_file_name"], size_hw=size_hw, num_classes=num_classes, ignore_label=ignore_label)
    if "pan_seg_file_name" in record:
        _check_segments(record, size_hw)
    for index, annotation in enumerate(record.get("annotations", ())):
        _check_outline(annotation, size_hw, f"{path}, annotation {index}", own)


def _check_segments(record: Record, size_hw: tuple[int, int]) -> None:
    path = record["pan_seg_file_name"]
    found = set(np.unique(read_panoptic_ids(path, size_hw=size_hw)).tolist()) - {0}
    unknown = sorted(found - {segment["id"] for segment in record["segments_info"]})
    if unknown:
        raise UserError(f"{path}: segment {unknown[0]} and {len(unknown) - 1} others are not in the JSON file")


def _check_outline(annotation: Record, size_hw: tuple[int, int], where: str, own: bool) -> None:
    outline, lacking = checked_segmentation(annotation.get("segmentation"), size_hw, where)
    if lacking:
        raise UserError(f"{where}: a polygon has fewer than three points or an odd number of values")
    if not segmentation_mask(outline, size_hw, where).any() and own:
        raise UserError(f"{where}: its mask has no pixel; it can neither be learnt nor found")
    if isinstance(outline, dict):
        return
    points = np.concatenate([np.asarray(polygon, dtype=np.float64) for polygon in outline]).reshape(-1, 2)
    # Published outlines stick out by a pixel or two.
    if (points < -2).any() or (points > np.array(size_hw[::-1]) + 2).any():
        raise UserError(f"{where}: its polygon leaves the picture of {size_hw[0]}x{size_hw[1]}")
