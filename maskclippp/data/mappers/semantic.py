"""Training mapper for label maps: one binary mask per class that is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from maskclippp.utils.errors import UserError

from ..annotations import read_label_map
from ..datasets import ignore_label_of
from ..datasets.configured import train_metadata
from . import common
from .build import MAPPERS
from .training import TrainingMapper


@MAPPERS.register_as("mask_former_semantic")
class SemanticMapper(TrainingMapper):
    """Cuts the label map into masks; the sample also keeps it as ``sem_seg`` (h, w) int64."""

    record_key = "sem_seg_file_name"
    needs = "a label map, which semantic and panoptic datasets have"

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str = "RGB",
        ignore_label: int = 255,
        size_divisibility: int = -1,
        num_classes: int | None = None,
        name: str = "",
    ) -> None:
        """Take plain parts.

        Args:
            augmentations, image_format, size_divisibility, name: see :class:`TrainingMapper`.
            ignore_label: value of unlabelled pixels.
            num_classes: labels must be below it (or ``ignore_label``); not checked if None.
        """
        super().__init__(
            augmentations=augmentations, image_format=image_format, size_divisibility=size_divisibility, name=name
        )
        self.ignore_label = ignore_label
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Read INPUT; ignore label and number of classes come from the metadata of DATASETS.TRAIN[0]."""
        arguments = super().from_config(cfg, is_train)
        metadata = train_metadata(cfg)
        if not metadata.get("stuff_classes", None):
            raise UserError(f"dataset '{metadata.name}' has no label maps; mapper '{arguments['name']}' needs them")
        return arguments | {"ignore_label": ignore_label_of(metadata), "num_classes": len(metadata.stuff_classes)}

    def read(self, annotation: Any, record: dict[str, Any], size_hw: tuple[int, int]) -> np.ndarray:
        """Return the label map (H, W) int32."""
        if "annotations" in record:
            raise UserError(
                f"{record['file_name']}: mapper '{self.name}' takes label maps, this record has instance annotations "
                "too; choose a semantic dataset in DATASETS.TRAIN"
            )
        return read_label_map(annotation, size_hw=size_hw, num_classes=self.num_classes, ignore_label=self.ignore_label)

    def label_map(self, read: np.ndarray) -> np.ndarray:
        """Return the label map.

        Floating-point labels make detectron2 resize them with torch's "nearest" (floor rule), as published models
        were trained; uint8 ones would go through Pillow, which rounds differently.
        """
        return read.astype(np.float32)

    def targets(
        self, sample: dict[str, Any], read: np.ndarray, augmented: T.AugInput, transforms: T.TransformList
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the padded label map as ``sem_seg``; return the classes in it, ascending, and their masks."""
        labels = torch.from_numpy(augmented.sem_seg.astype(np.int64))  # (h, w)
        labels = sample["sem_seg"] = common.pad_to(labels, self.size_divisibility, self.ignore_label)
        classes = torch.unique(labels)
        classes = classes[classes != self.ignore_label]
        return classes, labels[None] == classes[:, None, None]
