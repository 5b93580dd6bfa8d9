"""Reading every file of a dataset: pictures that cannot be decoded, sizes that differ, labels out of range."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from maskclippp.data.annotations import read_label_map, read_panoptic_ids
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.data.images import read_image
from maskclippp.data.run_length import decode_rle
from maskclippp.utils.errors import UserError
from maskclippp.utils.parallel import try_all

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
    check = partial(check_record, num_classes=num_classes, ignore_label=row.ignore_label)
    _, failures = try_all(check, records, workers=workers, title=row.name)
    return failures


def check_record(record: Record, *, num_classes: int, ignore_label: int) -> None:
    """Read the files of a record.

    Args:
        record: as loaders make it.
        num_classes: labels of the label map must be below it, or ``ignore_label``.
        ignore_label: value of unlabelled pixels.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    size_hw = read_image(record["file_name"]).shape[:2]
    if "sem_seg_file_name" in record:
        read_label_map(record["sem_seg_file_name"], size_hw=size_hw, num_classes=num_classes, ignore_label=ignore_label)
    check_annotations(record, size_hw)


def check_annotations(record: Record, size_hw: tuple[int, int]) -> None:
    """Read the panoptic PNG of a record, and look at the outlines of its instances.

    Args:
        record: as loaders make it.
        size_hw: size of its picture.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    path = record["file_name"]
    told = (record.get("height", size_hw[0]), record.get("width", size_hw[1]))
    if told != size_hw:
        raise UserError(f"{path}: {size_hw[0]}x{size_hw[1]} (height x width), its annotation says {told[0]}x{told[1]}")
    if "pan_seg_file_name" in record:
        _check_segments(record, size_hw)
    for index, annotation in enumerate(record.get("annotations", ())):
        _check_outline(annotation, size_hw, f"{path}, annotation {index}")


def _check_segments(record: Record, size_hw: tuple[int, int]) -> None:
    path = record["pan_seg_file_name"]
    found = set(np.unique(read_panoptic_ids(path, size_hw=size_hw)).tolist()) - {0}
    unknown = sorted(found - {segment["id"] for segment in record["segments_info"]})
    if unknown:
        raise UserError(f"{path}: segment {unknown[0]} and {len(unknown) - 1} others are not in the JSON file")


def _check_outline(annotation: Record, size_hw: tuple[int, int], where: str) -> None:
    outline = annotation.get("segmentation")
    if isinstance(outline, dict):
        if decode_rle(outline, where).shape != size_hw:
            raise UserError(f"{where}: its mask is of size {outline['size']}, the picture of {list(size_hw)}")
        return
    if not outline or any(len(polygon) < 6 or len(polygon) % 2 for polygon in outline):
        raise UserError(f"{where}: a polygon has fewer than three points, or there is none")
    points = np.concatenate([np.asarray(polygon, dtype=np.float64) for polygon in outline]).reshape(-1, 2)
    # Published outlines stick out by a pixel or two.
    if not np.isfinite(points).all() or (points < -2).any() or (points > np.array(size_hw[::-1]) + 2).any():
        raise UserError(f"{where}: its polygon leaves the picture of {size_hw[0]}x{size_hw[1]}")
