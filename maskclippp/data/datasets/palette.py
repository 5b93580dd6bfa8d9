"""Colours for classes: published ones, or distinct ones for any number of them, the same in every run."""

from __future__ import annotations

from detectron2.data.datasets import builtin_meta

from ..vocabularies import Vocabulary
from .row import DatasetRow

_BUILTIN = {"coco": builtin_meta.COCO_CATEGORIES, "cityscapes": builtin_meta.CITYSCAPES_CATEGORIES}


def palette(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` distinct RGB colours (0 to 255), none of them black: Pascal VOC's colour map from index 1 on.

    The bits of the index are dealt to the channels in turn and become their highest bits first.
    """
    return [_colour(index) for index in range(1, count + 1)]


def row_colors(row: DatasetRow, vocabulary: Vocabulary) -> list[tuple[int, int, int]]:
    """Return the published colour of each class of a dataset, or generated ones (K RGB colours, 0 to 255)."""
    if row.colors == "voc21":
        return [(0, 0, 0), *palette(len(vocabulary) - 1)]
    if row.colors:
        by_id = {entry["id"]: tuple(entry["color"]) for entry in _BUILTIN[row.colors]}
        return [by_id[class_id] for class_id in vocabulary.ids]
    return palette(len(vocabulary))


def _colour(index: int) -> tuple[int, int, int]:
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
