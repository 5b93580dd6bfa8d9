"""Training mappers for instance annotations: one binary mask per object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T

from maskclippp.utils.errors import UserError

from ..annotations import check_size
from ..run_length import decode_rle
from ..segmentations import checked_segmentation, segmentation_mask
from .augmentations import resize_and_crop
from .build import MAPPERS
from .training import LargeScaleJitter, TrainingMapper

Shapes = list[tuple[int, list[np.ndarray] | np.ndarray]]
"""Class, and polygons (n, 2) as (x, y) in pixels or a mask (H, W) uint8, of each object."""


@MAPPERS.register_as("mask_former_instance")
class InstanceMapper(TrainingMapper):
    """One mask per annotation that is no crowd: polygons, run-length encodings or arrays."""

    record_key = "annotations"
    needs = "instance annotations, which instance datasets have"
    keeps_empty = True
    """Whether objects that were cropped away stay as empty masks."""

    @classmethod
    def augmentations_of(cls, cfg: CfgNode) -> list[T.Augmentation]:
        """Return :func:`resize_and_crop`, without the limit on categories, for there is no label map."""
        return resize_and_crop(cfg, limit_category=False)

    def read(self, annotation: Any, record: dict[str, Any], size_hw: tuple[int, int]) -> Shapes:
        """Return classes and shapes of the objects."""
        return [
            (entry["category_id"], _read_shape(entry, f"{record['file_name']}, annotation {index}", size_hw))
            for index, entry in enumerate(annotation)
            if not entry.get("iscrowd", 0)
        ]

    def targets(
        self, sample: dict[str, Any], read: Shapes, augmented: T.AugInput, transforms: T.TransformList
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return classes and masks of the objects."""
        size_hw = augmented.image.shape[:2]
        masks = torch.zeros((len(read), *size_hw), dtype=torch.bool)
        for mask, (_, shape) in zip(masks, read, strict=True):
            mask[:] = torch.from_numpy(_augment_shape(shape, transforms, size_hw, sample["file_name"]))
        classes = torch.tensor([label for label, _ in read], dtype=torch.int64)
        kept = slice(None) if self.keeps_empty else masks.flatten(1).any(1)
        return classes[kept], masks[kept]


@MAPPERS.register_as("coco_instance_lsj")
class InstanceJitterMapper(LargeScaleJitter, InstanceMapper):
    """As :class:`InstanceMapper`, under large-scale jitter; objects that were cropped away are left out."""

    keeps_empty = False


def _read_shape(annotation: dict[str, Any], where: str, size_hw: tuple[int, int]) -> list[np.ndarray] | np.ndarray:
    shape = annotation.get("segmentation")
    if isinstance(shape, np.ndarray):
        check_size(where, shape.shape, size_hw)
        return shape
    shape, lacking = checked_segmentation(shape, size_hw, where)
    if lacking:
        raise UserError(f"{where}: a polygon has fewer than three points or an odd number of values")
    if isinstance(shape, dict):
        return decode_rle(shape, where).astype(np.uint8)
    return [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in shape]


def _augment_shape(
    shape: list[np.ndarray] | np.ndarray, transforms: T.TransformList, size_hw: tuple[int, int], where: str
) -> np.ndarray:
    """Return the augmented mask (h, w) bool."""
    if isinstance(shape, np.ndarray):
        # Not "> 0": detectron2 may pad label maps with 255.
        return transforms.apply_segmentation(shape) == 1
    # Points are moved and the rasteriser cuts at the border. Cutting the polygons themselves, as detectron2 does,
    # takes one more package and loses parts of those that cross themselves.
    polygons = [transforms.apply_coords(polygon.copy()).ravel().tolist() for polygon in shape]
    return segmentation_mask(polygons, size_hw, where)
