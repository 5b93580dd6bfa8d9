"""Names that base files of Mask2Former and detectron2 have for datasets of the table.

Each stands for the same pictures, annotations and order of classes; class names and evaluators are those of the table.
Names of other sets (parts of a set, Cityscapes without its panoptic files) keep what detectron2 registers for them. If
Mask2Former's own package is imported as well, import it first: it registers the same names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .row import DatasetRow
from .table import DATASETS

_OURS = "openvocab_"
_SAME_BUT_FOR_THE_PREFIX = (
    "coco_2017_{}",
    "coco_2017_{}_panoptic_with_sem_seg",
    "ade20k_sem_seg_{}",
    "ade20k_panoptic_{}",
    "ade20k_instance_{}",
    "ade20k_full_sem_seg_{}",
    "cityscapes_fine_panoptic_{}",
)


def _all_aliases() -> Iterator[DatasetRow]:
    for split in ("train", "val"):
        for pattern in _SAME_BUT_FOR_THE_PREFIX:
            name = pattern.format(split)
            yield replace(DATASETS[f"{_OURS}{name}"], name=name)
    yield replace(DATASETS["openvocab_lvis_1203_instance_val"], name="lvis_v1_val")
    mapillary = DATASETS["openvocab_mapillary_vistas_panoptic_val"]
    yield replace(mapillary, name="mapillary_vistas_panoptic_val")
    yield replace(mapillary, name="mapillary_vistas_sem_seg_val", kind="sem_seg", evaluator_type="sem_seg")


ALIASES: dict[str, DatasetRow] = {row.name: row for row in _all_aliases()}
"""Rows of the table by their other names."""
