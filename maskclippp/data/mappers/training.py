"""What all training mappers do: read picture and annotation, augment both alike, make instances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances

from maskclippp.utils.errors import UserError

from . import common
from .augmentations import large_scale_jitter, resize_and_crop


class TrainingMapper(ABC):
    """Reads picture and annotation, augments them alike, and makes one instance per mask.

    Subclasses say what they read (``record_key``, ``read``) and how it becomes masks (``targets``).
    """

    record_key = ""
    """Key of the record that holds the annotation."""
    needs = ""
    """What the mapper needs and which datasets have it, for messages."""
    with_boxes = False
    """Whether the instances have ``gt_boxes``."""

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str = "RGB",
        size_divisibility: int = -1,
        name: str = "",
    ) -> None:
        """Take plain parts.

        Args:
            augmentations: applied in this order.
            image_format: channel order of the picture, "RGB" or "BGR".
            size_divisibility: if above 0, pad or cut the right and bottom to exactly this size.
            name: how messages call the mapper.
        """
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.size_divisibility = size_divisibility
        self.name = name or type(self).__name__

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read INPUT; :meth:`augmentations_of` makes the augmentations.

        Raises:
            UserError: asked for evaluation.
        """
        name = cfg.INPUT.DATASET_MAPPER_NAME
        if not is_train:
            raise UserError(f"mapper '{name}' is for training only")
        return {
            "augmentations": cls.augmentations_of(cfg),
            "image_format": cfg.INPUT.FORMAT,
            "size_divisibility": cfg.INPUT.SIZE_DIVISIBILITY,
            "name": name,
        }

    @classmethod
    def augmentations_of(cls, cfg: CfgNode) -> list[T.Augmentation]:
        """Return :func:`resize_and_crop`."""
        return resize_and_crop(cfg)

    @abstractmethod
    def read(self, annotation: Any, record: dict[str, Any], size_hw: tuple[int, int]) -> Any:
        """Return what :meth:`targets` needs.

        Args:
            annotation: what the record holds under ``record_key``.
            record: the whole record.
            size_hw: size of the picture.
        """

    def label_map(self, read: Any) -> np.ndarray | None:
        """Return the (H, W) float32 label map that augmentations get to see and to change, if any."""
        return None

    @abstractmethod
    def targets(
        self, sample: dict[str, Any], read: Any, augmented: T.AugInput, transforms: T.TransformList
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return classes (N,) int64 and masks (N, h, w) bool; N may be 0.

        Args:
            sample: what is returned in the end; more may be put into it.
            read: what :meth:`read` returned.
            augmented: the augmented picture and label map.
            transforms: what was done to them.
        """

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the sample of a record; the record is left as it is.

        Args:
            record: needs ``file_name`` and the annotation.

        Returns:
            The record, without the annotation, with ``image`` (3, h, w) uint8 and ``instances`` (see ``MAPPERS``).

        Raises:
            UserError: no annotation, unreadable file, sizes that differ, label out of range.
        """
        sample = dict(record)
        annotation = sample.pop(self.record_key, None)
        if annotation is None:
            raise UserError(
                f"{sample['file_name']}: mapper '{self.name}' needs {self.needs}; this record has no "
                f"{self.record_key}; change DATASETS.TRAIN or INPUT.DATASET_MAPPER_NAME"
            )
        image = common.read_record_image(sample, self.image_format)
        read = self.read(annotation, record, image.shape[:2])
        augmented = T.AugInput(image, sem_seg=self.label_map(read))
        transforms = self.augmentations(augmented)
        classes, masks = self.targets(sample, read, augmented, transforms)
        pixels = common.image_tensor(augmented.image)  # (3, h, w)
        sample["image"] = common.pad_to(pixels, self.size_divisibility, common.IMAGE_PADDING)
        sample["instances"] = self._instances(classes, common.pad_to(masks, self.size_divisibility, 0))
        return sample

    def _instances(self, classes: torch.Tensor, masks: torch.Tensor) -> Instances:
        instances = Instances(tuple(masks.shape[-2:]))
        instances.gt_classes = classes
        instances.gt_masks = masks
        if self.with_boxes:
            instances.gt_boxes = BitMasks(masks).get_bounding_boxes()
        return instances


class LargeScaleJitter:
    """Mixed into a mapper: flip, colour jitter, scale, crop or padding to a square. INPUT.SIZE_DIVISIBILITY is unread.

    Instances also have ``gt_boxes``, tight around the masks and all zero around an empty one.
    """

    with_boxes = True

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read INPUT."""
        return super().from_config(cfg, is_train) | {"size_divisibility": -1}

    @classmethod
    def augmentations_of(cls, cfg: CfgNode) -> list[T.Augmentation]:
        """Return :func:`large_scale_jitter`."""
        return large_scale_jitter(cfg)
