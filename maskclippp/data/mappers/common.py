"""What the mappers share: reading the picture, the training augmentations, padding, masks from a label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances
from torch.nn import functional as F

from maskclippp.data.datasets import get_metadata
from maskclippp.data.images import read_image
from maskclippp.data.mappers.color_jitter import SSDColorJitter
from maskclippp.utils.errors import UserError

IMAGE_PADDING = 128


def read_record_image(record: dict[str, Any], image_format: str) -> np.ndarray:
    """Read the picture of a record and set the record's ``height`` and ``width``, or compare them if they are there.

    Returns:
        (H0, W0, 3) uint8.

    Raises:
        UserError: unreadable picture, or of another size than the record says.
    """
    image = read_image(record["file_name"], image_format)
    height, width = image.shape[:2]
    expected = (record.setdefault("height", height), record.setdefault("width", width))
    if expected != (height, width):
        raise UserError(
            f"{record['file_name']}: {height}x{width} (height x width), but its annotation says "
            f"{expected[0]}x{expected[1]}; one of the two files is of another picture"
        )
    return image


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """Return (H, W, C) as a tensor (C, H, W) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def training_augmentations(
    *,
    min_sizes: Sequence[int],
    max_size: int,
    sampling: str,
    crop: T.Augmentation | None,
    color_jitter: bool,
    image_format: str,
) -> list[T.Augmentation]:
    """Return resize, crop, colour jitter and horizontal flip, in the published order.

    Args:
        min_sizes: choices (or the two ends of the range) of the shorter side in pixels.
        max_size: bound of the longer side in pixels.
        sampling: "choice" or "range".
        crop: cropping augmentation, if any.
        color_jitter: whether colours are jittered.
        image_format: channel order of the picture, "RGB" or "BGR".
    """
    augmentations: list[T.Augmentation] = [T.ResizeShortestEdge(list(min_sizes), max_size, sampling)]
    if crop is not None:
        augmentations.append(crop)
    if color_jitter:
        augmentations.append(SSDColorJitter(image_format=image_format))
    augmentations.append(T.RandomFlip())
    return augmentations


def crop_from_config(cfg: CfgNode) -> T.Augmentation | None:
    """Return the crop of INPUT.CROP, with the limit on the share of a single category, or None if it is off."""
    crop = cfg.INPUT.CROP
    if not crop.ENABLED:
        return None
    return T.RandomCrop_CategoryAreaConstraint(
        crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
    )


def train_metadata(cfg: CfgNode) -> Metadata:
    """Return the metadata of DATASETS.TRAIN[0], whose vocabulary the labels are in.

    Raises:
        UserError: no training dataset is configured, or an unknown one.
    """
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty; name the training dataset there")
    return get_metadata(cfg.DATASETS.TRAIN[0])


def pad_to(tensor: torch.Tensor, size: int, value: int) -> torch.Tensor:
    """Pad (..., h, w) at the right and bottom to exactly (..., size, size); what sticks out is cut off.

    A ``size`` of zero or less leaves the tensor as it is.
    """
    if size <= 0:
        return tensor
    height, width = tensor.shape[-2:]
    return F.pad(tensor, (0, size - width, 0, size - height), value=value)


def instances_from_labels(labels: torch.Tensor, ignore_label: int) -> Instances:
    """Return one instance per class that is present.

    Args:
        labels: (h, w) int64 label map.
        ignore_label: the value that is no class.

    Returns:
        ``gt_classes`` (N,) int64 ascending and ``gt_masks`` (N, h, w) bool; N is 0 where nothing is labelled.
    """
    classes = torch.unique(labels)
    classes = classes[classes != ignore_label]
    instances = Instances(tuple(labels.shape))
    instances.gt_classes = classes
    instances.gt_masks = labels[None] == classes[:, None, None]  # (N, h, w)
    return instances
