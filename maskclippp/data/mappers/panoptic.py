"""Training mappers for panoptic PNGs: one binary mask per segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T

from maskclippp.utils.errors import UserError

from ..annotations import panoptic_ids, read_panoptic_colours
from .augmentations import reads_labels
from .build import MAPPERS
from .training import LargeScaleJitter, TrainingMapper

IGNORED = 255


@dataclass(frozen=True)
class Segments:
    """A panoptic annotation.

    Attributes:
        colours: (H, W, 3) uint8.
        infos: ``segments_info``: dicts with ``id``, contiguous ``category_id`` and perhaps ``iscrowd``.
    """

    colours: np.ndarray
    infos: list[dict[str, Any]]


@MAPPERS.register_as("mask_former_panoptic")
class PanopticMapper(TrainingMapper):
    """One mask per segment that is no crowd, in the order of ``segments_info``.

    Segments that were cropped away stay as empty masks, as in the published training.
    """

    record_key = "pan_seg_file_name"
    needs = "panoptic segments, which panoptic datasets have"

    def read(self, annotation: Any, record: dict[str, Any], size_hw: tuple[int, int]) -> Segments:
        """Return the colours of the PNG and what the record says about them."""
        if "segments_info" not in record:
            raise UserError(f"{annotation}: the record has no 'segments_info'; mapper '{self.name}' needs both")
        return Segments(read_panoptic_colours(annotation, size_hw=size_hw), record["segments_info"])

    def label_map(self, read: Segments) -> np.ndarray | None:
        """Return the category of every pixel, if the crop wants to know it."""
        if not any(map(reads_labels, self.augmentations.augs)):
            return None
        ids, labels = panoptic_ids(read.colours), np.full(read.colours.shape[:2], IGNORED, np.float32)
        for info in read.infos:
            labels[ids == info["id"]] = info["category_id"]
        return labels

    def targets(
        self, sample: dict[str, Any], read: Segments, augmented: T.AugInput, transforms: T.TransformList
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return classes and masks of all segments that are no crowd."""
        sample.pop("segments_info")
        # The colours are resized, not the ids: uint8 goes through Pillow's "nearest", as published.
        ids = torch.from_numpy(panoptic_ids(transforms.apply_segmentation(read.colours)))  # (h, w)
        chosen = [info for info in read.infos if not info.get("iscrowd", 0)]
        classes = torch.tensor([info["category_id"] for info in chosen], dtype=torch.int64)
        wanted = torch.tensor([info["id"] for info in chosen], dtype=torch.int32)
        return classes, ids[None] == wanted[:, None, None]


@MAPPERS.register_as("coco_panoptic_lsj")
class PanopticJitterMapper(LargeScaleJitter, PanopticMapper):
    """As :class:`PanopticMapper`, under large-scale jitter."""
