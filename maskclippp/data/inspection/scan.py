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
from maskclippp.data.panoptic_segments import segment_areas, small_area
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
    strict = bool(row.described_in)
    check = partial(check_record, num_classes=num_classes, ignore_label=row.ignore_label, strict_areas=strict)
    _, failures = try_all(check, records, workers=workers, title=row.name)
    return failures


def check_record(record: Record, *, num_classes: int, ignore_label: int, strict_areas: bool = False) -> None:
    """Read the files of a record.

    Args:
        record: as loaders make it.
        num_classes: labels of the label map must be below it, or ``ignore_label``.
        ignore_label: value of unlabelled pixels.
        strict_areas: the "area" of no segment may be smaller than its pixels.

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
        _check_segments(record, size_hw, strict_areas)
    for index, annotation in enumerate(record.get("annotations", ())):
        _check_outline(annotation, size_hw, f"{path}, annotation {index}")


def _check_segments(record: Record, size_hw: tuple[int, int], strict_areas: bool) -> None:
    path, segments = record["pan_seg_file_name"], record["segments_info"]
    ids, counts = np.unique(read_panoptic_ids(path, size_hw=size_hw), return_counts=True)
    found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    if strict_areas:
        pixels = np.array([found.get(segment["id"], 0) for segment in segments])
        for place in segment_areas(segments, pixels)[1]:
            raise small_area(segments[place], pixels[place], path)
    unknown = sorted(found.keys() - {0} - {segment["id"] for segment in segments})
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
