"""Polygons of annotation files: checked before anything native sees them, and turned into run lengths.

The C code of pycocotools trusts its input: a coordinate that is no finite number ends the process, and one far away
takes memory for every pixel on the way there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskclippp.utils.errors import UserError, show

MIN_VALUES = 6
"""Of a polygon: x and y of three points."""

_MAX_OUTLINE = 500_000
"""Length in pixels of all polygons of one annotation."""
_MAX_DRAWN_OUTLINE = 2_000_000
"""Of one polygon, after it was enlarged; rasterising takes some 150 bytes per pixel of it."""
_MAX_DRAWN_COORDINATE = 10_000_000


def check_coordinates(values: list[Any], size_hw: tuple[int, int], where: str) -> None:
    """Check that all values are finite numbers, and at most one picture's longer side outside the picture.

    Raises:
        UserError: one is not; ``where`` is file and index.
    """
    reach = max(size_hw)
    if values and set(map(type, values)) <= {int, float} and -reach <= min(values) and max(values) <= 2 * reach:
        if not math.isnan(sum(values)):
            return  # the rule; the loop is ten times as slow
    for value in values:
        if type(value) not in (int, float) or not -reach <= value <= 2 * reach:  # NaN is outside
            found = f"{show(value)} is no coordinate in or near its picture of {size_hw[0]}x{size_hw[1]}"
            raise UserError(f"{where}: {found} (height x width); coordinates are finite numbers of pixels")


def usable_polygons(polygons: Sequence[Any], size_hw: tuple[int, int], where: str) -> list[list[float]]:
    """Return the polygons [x, y, x, y, ...] that have three points or more and an even number of values.

    Args:
        polygons: of one annotation, as the file has them.
        size_hw: size of the picture.
        where: file and index, for messages.

    Raises:
        UserError: no list, values that are no coordinates (see :func:`check_coordinates`), a far too long outline.
    """
    for number, polygon in enumerate(polygons):
        if not isinstance(polygon, list):
            found = f"{show(polygon)} in place of polygon {number}"
            raise UserError(f"{where}: {found}; 'segmentation' is a list of polygons, each a list [x, y, x, y, ...]")
        check_coordinates(polygon, size_hw, f"{where}, polygon {number}")
    kept = [polygon for polygon in polygons if len(polygon) >= MIN_VALUES and len(polygon) % 2 == 0]
    if sum(map(len, kept)) * 3 * max(size_hw) > _MAX_OUTLINE:  # else it cannot be as long
        length = sum(map(_outline, kept))
        if length > _MAX_OUTLINE:
            raise UserError(f"{where}: its outline is {length:.0f} pixels long, more than {_MAX_OUTLINE}; simplify it")
    return kept


def polygon_rle(polygons: Sequence[Sequence[float]], size_hw: tuple[int, int], where: str) -> dict[str, Any]:
    """Return what polygons cover together as run lengths ``{"size", "counts": bytes}``.

    Args:
        polygons: of three points or more; they may have been moved and enlarged since they were read.
        size_hw: of the mask; what lies outside is cut off.
        where: file and index, for messages.

    Raises:
        UserError: coordinates that are not finite or too large, or too long an outline.
    """
    for polygon in polygons:
        values = np.asarray(polygon, dtype=np.float64)
        if not np.isfinite(values).all() or np.abs(values).max() > _MAX_DRAWN_COORDINATE:
            raise UserError(f"{where}: a coordinate is not finite or too large")
        if _outline(values) > _MAX_DRAWN_OUTLINE:
            raise UserError(f"{where}: an outline of more than {_MAX_DRAWN_OUTLINE} pixels is not drawn; simplify it")
    return coco_mask.merge(coco_mask.frPyObjects([list(map(float, polygon)) for polygon in polygons], *size_hw))


def _outline(polygon: Sequence[float] | np.ndarray) -> float:
    """Return the length of the closed outline in the larger of the two directions."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
