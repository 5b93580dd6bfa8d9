"""Masks from the JSON files of the annotation tool labelme, one file for each picture."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError, show

from .annotations import check_size
from .images import MAX_PIXELS
from .instance_json import whole_number
from .polygons import MIN_VALUES, check_coordinates
from .segmentations import checked_segmentation, segmentation_mask

logger = logging.getLogger(__name__)

_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file looks like labelme's."""
    return isinstance(content, dict) and "shapes" in content


def labelme_masks(content: dict[str, Any], path: Any, size_hw: tuple[int, int] | None) -> list[np.ndarray]:
    """Return the masks of a file in the order of their first shapes.

    Polygons, rectangles and circles are read; shapes of one label and one ``group_id`` are one mask. What has no area
    (points, lines) is left out, and that is said.

    Args:
        content: of the file.
        path: of the file, for messages.
        size_hw: size of the picture; by default, what the file says.

    Returns:
        Q masks (H, W) bool.

    Raises:
        UserError: not labelme's form, another size, an unknown kind of shape, wrong points.
    """
    size_hw = _size(content, path, size_hw)
    if not isinstance(content["shapes"], list):
        raise UserError(f"{path}: not a labelme file: 'shapes' is no list")
    masks: dict[Any, np.ndarray] = {}
    without_area = 0
    for index, shape in enumerate(content["shapes"]):
        where = f"{path}, shapes[{index}]"
        if not isinstance(shape, dict):
            raise UserError(f"{where}: {show(shape)} in place of a shape {{...}}")
        mask = _draw(shape, size_hw, where)
        if mask is None:
            without_area += 1
            continue
        group = shape.get("group_id")
        key = index if group is None else (str(shape.get("label")), str(group))
        masks[key] = masks[key] | mask if key in masks else mask
    if without_area:
        logger.warning("%s: left out %d shapes without area (points, lines)", path, without_area)
    return list(masks.values())


def _size(content: dict[str, Any], path: Any, size_hw: tuple[int, int] | None) -> tuple[int, int]:
    told = tuple(content.get(key) for key in ("imageHeight", "imageWidth"))
    if told == (None, None) and size_hw is not None:
        return size_hw
    sides = tuple(None if isinstance(side, str) else whole_number(side) for side in told)
    if None in sides or min(sides) <= 0:
        raise UserError(f"{path}: imageHeight and imageWidth are {show(told)}; expected whole numbers above 0")
    check_size(path, sides, size_hw)
    if sides[0] * sides[1] > MAX_PIXELS:
        size = f"{sides[0]}x{sides[1]}"
        raise UserError(f"{path}: {size} (imageHeight x imageWidth) are more than {MAX_PIXELS} pixels")
    return sides


def _draw(shape: dict[str, Any], size_hw: tuple[int, int], where: str) -> np.ndarray | None:
    """Return the mask of a shape, None if it has no area."""
    kind, points = shape.get("shape_type", "polygon"), shape.get("points")
    if kind in _WITHOUT_AREA:
        return None
    if kind not in ("polygon", "rectangle", "circle"):
        raise UserError(f"{where}: shape_type {show(kind)} is not read; make it a polygon")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise UserError(f"{where}: its points are {show(points)}; expected [[x, y], ...]")
    values = [value for point in points for value in point]
    check_coordinates(values, size_hw, where)
    if kind == "circle":
        return _circle(values, size_hw, where)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        values = [left, top, right, top, right, bottom, left, bottom]
    if len(values) < MIN_VALUES:
        raise UserError(f"{where}: a {kind} of {len(points)} points has no area; draw it again or remove it")
    polygons, _ = checked_segmentation([values], size_hw, where)
    return segmentation_mask(polygons, size_hw, where)


def _circle(values: list[float], size_hw: tuple[int, int], where: str) -> np.ndarray:
    """Return the pixels whose middle lies in a circle, given by its middle and a point on it."""
    if len(values) != 4:
        raise UserError(f"{where}: a circle has two points, its middle and one on it, this one has {len(values) // 2}")
    x, y, edge_x, edge_y = values
    rows, columns = (np.arange(side) + 0.5 for side in size_hw)
    return (rows[:, None] - y) ** 2 + (columns - x) ** 2 <= math.dist((x, y), (edge_x, edge_y)) ** 2
