"""The "segmentation" of an annotation, polygons or run lengths: checked, measured, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskclippp.utils.errors import UserError, show

from .annotations import check_size
from .polygons import polygon_rle, usable_polygons
from .run_length import check_rle, decode_rle

Segmentation = list[list[float]] | dict[str, Any]


def checked_segmentation(segmentation: Any, size_hw: tuple[int, int], where: str) -> tuple[Segmentation, int]:
    """Return what can be drawn of a segmentation, and the number of polygons that cannot.

    Args:
        segmentation: as the file has it.
        size_hw: size of the picture.
        where: file and index, for messages.

    Returns:
        Run lengths as they are; or polygons without those of fewer than three points or an odd number of values, as
        detectron2 reads them; the list may be empty.

    Raises:
        UserError: none at all, neither polygons nor run lengths, another size, wrong counts or coordinates.
    """
    if segmentation is None or segmentation in ([], {}):
        found = "it has no mask ('segmentation' is missing or empty)"
        raise UserError(f"{where}: {found}; give it polygons or run lengths, or remove it")
    if isinstance(segmentation, dict):
        check_size(where, check_rle(segmentation, where), size_hw)
        return segmentation, 0
    if not isinstance(segmentation, list):
        found = f"'segmentation' is {show(segmentation)}"
        raise UserError(f"{where}: {found}; expected polygons [[x, y, ...]] or {{'size': [H, W], 'counts': ...}}")
    kept = usable_polygons(segmentation, size_hw, where)
    return kept, len(segmentation) - len(kept)


def segmentation_measures(
    segmentation: Segmentation, size_hw: tuple[int, int], where: str
) -> tuple[float, list[float]]:
    """Return the pixels of a checked segmentation and their box [x, y, width, height]."""
    if isinstance(segmentation, list):
        rle = polygon_rle(segmentation, size_hw, where)
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, *size_hw)
    else:
        rle = segmentation
    return float(coco_mask.area(rle)), coco_mask.toBbox(rle).tolist()


def segmentation_mask(segmentation: Segmentation, size_hw: tuple[int, int], where: str) -> np.ndarray:
    """Return a checked segmentation as a mask (H, W) bool.

    Raises:
        UserError: run lengths of another size, or an outline that is too long to be drawn.
    """
    if isinstance(segmentation, dict):
        mask = decode_rle(segmentation, where)
        check_size(where, mask.shape, size_hw)
        return mask
    if not segmentation:
        return np.zeros(size_hw, dtype=bool)
    return coco_mask.decode(polygon_rle(segmentation, size_hw, where)).astype(bool)
