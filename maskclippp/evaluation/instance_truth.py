"""What the true masks of an instance evaluation look like: those without pixels, and those of doubtful area."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from maskclippp.data.segmentations import segmentation_measures

_SIZES = (32**2, 96**2)
"""Between small and medium, medium and large masks."""
_FACTOR = 2


def doubtful_masks(truth: Mapping[str, Any], where: str) -> list[str]:
    """Say how many true masks no mask can match, and how many are counted among others of another size.

    Args:
        truth: ``images`` and ``annotations`` in normal form (:mod:`maskclippp.data.instance_json`).
        where: file, for messages.

    Returns:
        A text for each of the two, if there are any.
    """
    annotations = truth["annotations"]
    pixels = np.fromiter(_pixels(truth, where), dtype=np.float64, count=len(annotations))
    told = np.array([entry["area"] for entry in annotations], dtype=np.float64)
    empty = int((pixels == 0).sum())
    far = (told * _FACTOR < pixels) | (told > pixels * _FACTOR)
    moved = int((far & (pixels > 0) & (np.digitize(told, _SIZES) != np.digitize(pixels, _SIZES))).sum())
    lines = []
    if empty:
        lines.append(f"{empty} of {len(annotations)} true masks have no pixel; no mask can match them")
    if moved:
        lines.append(
            f"'area' of {moved} of {len(annotations)} true masks is less than half or more than twice their pixels and "
            "counts them among other sizes in APs, APm and APl; leave 'area' out to have pixels counted"
        )
    return lines


def _pixels(truth: Mapping[str, Any], where: str) -> Iterable[float]:
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    for entry in truth["annotations"]:
        yield segmentation_measures(entry["segmentation"], sizes[entry["image_id"]], where)[0]
