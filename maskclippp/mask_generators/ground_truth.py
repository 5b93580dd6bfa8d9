"""Masks from the annotations: for mask accuracy and for oracle studies."""

from __future__ import annotations

from typing import Any

import numpy as np
from detectron2.config import configurable

from maskclippp.data.annotations import labelled_classes, read_label_map, read_panoptic_ids
from maskclippp.utils.errors import UserError

from .base import FileMaskGenerator
from .build import MASK_GENERATOR_REGISTRY


def _required(record: dict[str, Any], key: str, generator: str) -> Any:
    if not record.get(key):
        name = record.get("file_name", "image without a name")
        raise UserError(f"{name}: the record has no '{key}', which {generator} needs; choose a dataset that has it")
    return record[key]


@MASK_GENERATOR_REGISTRY.register()
class GTSegmentor(FileMaskGenerator):
    """One mask per label of the semantic ground truth, in ascending order.

    Args:
        ignore_label: the value of unlabelled pixels, which make no mask, where the test dataset does not say it.
    """

    @configurable
    def __init__(self, *, ignore_label: int | None = 255) -> None:
        super().__init__()
        self.ignore_label = ignore_label

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Nothing to read: the test dataset says which label is ignored."""
        return {}

    def read(self, record: dict[str, Any], ignore_label: int | None) -> np.ndarray:
        """Return the masks of one record; an image without labels has none."""
        labels = read_label_map(_required(record, "sem_seg_file_name", "GTSegmentor"))
        classes = labelled_classes(labels, self.ignore_label if ignore_label is None else ignore_label)
        return labels[None] == classes[:, None, None]


@MASK_GENERATOR_REGISTRY.register()
class PanGTSegmentor(FileMaskGenerator):
    """One mask per segment of the panoptic ground truth, in the order of ``segments_info``, crowds included."""

    @configurable
    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Nothing to read."""
        return {}

    def read(self, record: dict[str, Any], ignore_label: int | None) -> np.ndarray:
        """Return the masks of one record; an image without segments has none."""
        ids = read_panoptic_ids(_required(record, "pan_seg_file_name", "PanGTSegmentor"))
        segments = np.array([segment["id"] for segment in record.get("segments_info", [])], dtype=ids.dtype)
        return ids[None] == segments[:, None, None]
