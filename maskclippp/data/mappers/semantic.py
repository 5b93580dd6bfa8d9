"""Training mapper for label maps: one binary mask per class that is present."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from maskclippp.data.annotations import read_label_map
from maskclippp.data.mappers import common
from maskclippp.data.mappers.build import MAPPERS
from maskclippp.utils.errors import UserError


@MAPPERS.register_as("mask_former_semantic")
class SemanticMapper:
    """Reads picture and label map, augments them alike, and cuts the label map into masks."""

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str = "RGB",
        ignore_label: int = 255,
        size_divisibility: int = -1,
        num_classes: int | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            augmentations: applied in this order.
            image_format: channel order of the picture, "RGB" or "BGR".
            ignore_label: value of unlabelled pixels.
            size_divisibility: if above 0, pad or cut the right and bottom to exactly this size.
            num_classes: labels must be below it (or ``ignore_label``); not checked if None.
        """
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.ignore_label = ignore_label
        self.size_divisibility = size_divisibility
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read INPUT; ignore label and number of classes come from the metadata of DATASETS.TRAIN[0]."""
        if not is_train:
            raise UserError("mapper 'mask_former_semantic' is for training only")
        metadata = common.train_metadata(cfg)
        if not metadata.get("stuff_classes", None):
            raise UserError(f"dataset '{metadata.name}' has no label maps; mapper 'mask_former_semantic' needs them")
        augmentations = common.training_augmentations(
            min_sizes=cfg.INPUT.MIN_SIZE_TRAIN,
            max_size=cfg.INPUT.MAX_SIZE_TRAIN,
            sampling=cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING,
            crop=common.crop_from_config(cfg),
            color_jitter=cfg.INPUT.COLOR_AUG_SSD,
            image_format=cfg.INPUT.FORMAT,
        )
        return {
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
            "ignore_label": metadata.get("ignore_label", 255),
            "size_divisibility": cfg.INPUT.SIZE_DIVISIBILITY,
            "num_classes": len(metadata.stuff_classes),
        }

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the sample of a record; the record is left as it is.

        Args:
            record: needs ``file_name`` and ``sem_seg_file_name``.

        Returns:
            The record with ``image`` (3, h, w) uint8, ``sem_seg`` (h, w) int64 and ``instances`` (see ``MAPPERS``).

        Raises:
            UserError: no label map, unreadable file, sizes that differ, label out of range.
        """
        sample = copy.deepcopy(record)
        if "annotations" in sample:
            raise UserError(
                f"{sample['file_name']}: mapper 'mask_former_semantic' takes label maps, this record has instance "
                "annotations; choose a semantic dataset in DATASETS.TRAIN"
            )
        label_file = sample.pop("sem_seg_file_name", None)
        if label_file is None:
            raise UserError(
                f"{sample['file_name']}: mapper 'mask_former_semantic' needs a label map, this record has no "
                "sem_seg_file_name; choose a semantic dataset in DATASETS.TRAIN"
            )
        image = common.read_record_image(sample, self.image_format)
        labels = read_label_map(
            label_file, size_hw=image.shape[:2], num_classes=self.num_classes, ignore_label=self.ignore_label
        )
        sample["image"], sample["sem_seg"] = self._augment(image, labels)
        sample["instances"] = common.instances_from_labels(sample["sem_seg"], self.ignore_label)
        return sample

    def _augment(self, image: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        # Floating-point labels make detectron2 resize them with torch's "nearest" (floor rule), as published models
        # were trained; uint8 ones would go through Pillow, which rounds differently.
        augmented = T.AugInput(image, sem_seg=labels.astype(np.float32))
        self.augmentations(augmented)
        pixels = common.image_tensor(augmented.image)  # (3, h, w)
        sem_seg = torch.from_numpy(augmented.sem_seg.astype(np.int64))  # (h, w)
        return (
            common.pad_to(pixels, self.size_divisibility, common.IMAGE_PADDING),
            common.pad_to(sem_seg, self.size_divisibility, self.ignore_label),
        )
