"""The segments of panoptic annotations: what a file may say of them, and how large they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError, show

MAX_ID = 256**3 - 1
_MAX_AREA = 2**53
IMPLAUSIBLE = 1.1
"""An annotated area is doubtful above this multiple of the pixels that can be seen."""

Segment = dict[str, Any]


def check_segments(segments: Any, categories: Collection[int], where: str) -> None:
    """Check the ``segments_info`` of one annotation.

    Args:
        segments: what the file has there.
        categories: ids that are allowed.
        where: file and annotation, for messages.

    Raises:
        UserError: no list of dicts, a key that is missing or of another kind, an id that is listed twice, a category
            that is not allowed.
    """
    if not isinstance(segments, list):
        raise UserError(f"{where}: 'segments_info' must be a list of segments, not {show(segments)}")
    known: dict[int, int] = {}
    for index, segment in enumerate(segments):
        here = f"{where}, segment {index}"
        if not isinstance(segment, dict):
            raise UserError(f"{here}: must be a dict with 'id' and 'category_id', not {show(segment)}")
        for key in ("id", "category_id"):
            if not _is_whole(segment.get(key)):
                found = show(segment[key]) if key in segment else "missing"
                raise UserError(f"{here}: '{key}' must be a whole number, it is {found}")
        number = segment["id"]
        if not 1 <= number <= MAX_ID:
            raise UserError(f"{here}: id {show(number)} is not from 1 to {MAX_ID} (R + 256 G + 65536 B)")
        if number in known:
            raise UserError(f"{here}: id {number} is listed twice, first as segment {known[number]}")
        known[number] = index
        if segment["category_id"] not in categories:
            category = show(segment["category_id"])
            raise UserError(f"{here}: category_id {category} of segment {number} is not in the vocabulary")
        _check_numbers(segment, here)


def segment_areas(segments: Sequence[Segment], pixels: np.ndarray) -> tuple[np.ndarray, list[int], list[int]]:
    """Return the area of each segment as panoptic quality counts it, and which annotated areas contradict the pixels.

    Args:
        segments: perhaps with "area"; else pixels are counted.
        pixels: (G,) pixels of each segment in the PNG.

    Returns:
        (G,) float64, never below ``pixels``; places of segments whose annotated area is smaller than that, which is
        impossible; places of those whose area is more than ``IMPLAUSIBLE`` times as large (a segment may have lost
        pixels to others that were laid over it, as in ADE20K).
    """
    told = np.array([_told_area(segment, count) for segment, count in zip(segments, pixels, strict=True)], np.float64)
    small = np.flatnonzero(told <= pixels - 1).tolist()
    large = np.flatnonzero(told > IMPLAUSIBLE * pixels).tolist()
    return np.maximum(told, pixels), small, large


def small_area(segment: Segment, pixels: int, where: str) -> UserError:
    """Return the error about an area that is smaller than the pixels of its segment."""
    return UserError(
        f"{where}: 'area' of segment {segment['id']} is {segment['area']:g}, but {pixels} of its pixels can be seen; "
        "correct it, or leave 'area' out to have pixels counted"
    )


def _told_area(segment: Segment, pixels: int) -> float:
    area = segment.get("area")
    return float(pixels) if area is None else float(area)


def _check_numbers(segment: Segment, here: str) -> None:
    area, crowd = segment.get("area"), segment.get("iscrowd")
    if area is not None and not (_is_number(area) and 0 <= area <= _MAX_AREA):
        raise UserError(f"{here}: 'area' must be a number of pixels, it is {show(area)}")
    if crowd is not None and not (isinstance(crowd, bool) or (_is_whole(crowd) and crowd in (0, 1))):
        raise UserError(f"{here}: 'iscrowd' must be 0 or 1, it is {show(crowd)}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)
