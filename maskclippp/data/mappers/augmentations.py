"""The two published lists of training augmentations, made from the configuration."""

from __future__ import annotations

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T

from .color_jitter import SSDColorJitter


class ResizeShortestEdge(T.ResizeShortestEdge):
    """detectron2's, but a side of a very long picture does not vanish."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Return the transform for a picture (H, W, C)."""
        return _visible(super().get_transform(image))


class ResizeScale(T.ResizeScale):
    """detectron2's, but a side of a very long picture does not vanish."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """Return the transform for a picture (H, W, C)."""
        return _visible(super().get_transform(image))


def _visible(resize: T.Transform) -> T.Transform:
    """At least one pixel each way."""
    if not isinstance(resize, T.ResizeTransform) or min(resize.new_h, resize.new_w) > 0:
        return resize
    return T.ResizeTransform(resize.h, resize.w, max(resize.new_h, 1), max(resize.new_w, 1), resize.interp)


def resize_and_crop(cfg: CfgNode, *, limit_category: bool = True) -> list[T.Augmentation]:
    """Return resize of the shorter side, crop, colour jitter and horizontal flip, of the ``mask_former_*`` mappers.

    Args:
        cfg: INPUT and, for the crop, MODEL.SEM_SEG_HEAD.IGNORE_VALUE are read.
        limit_category: whether the crop minds INPUT.CROP.SINGLE_CATEGORY_MAX_AREA, which takes a label map.
    """
    inputs, crop = cfg.INPUT, cfg.INPUT.CROP
    chosen: list[T.Augmentation] = [
        ResizeShortestEdge(list(inputs.MIN_SIZE_TRAIN), inputs.MAX_SIZE_TRAIN, inputs.MIN_SIZE_TRAIN_SAMPLING)
    ]
    if crop.ENABLED and limit_category:
        ignored = cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
        chosen.append(T.RandomCrop_CategoryAreaConstraint(crop.TYPE, crop.SIZE, crop.SINGLE_CATEGORY_MAX_AREA, ignored))
    elif crop.ENABLED:
        chosen.append(T.RandomCrop(crop.TYPE, crop.SIZE))
    return [*chosen, *_colour(cfg), T.RandomFlip()]


def large_scale_jitter(cfg: CfgNode) -> list[T.Augmentation]:
    """Return flip, colour jitter, random scale, and crop or padding to a square (Ghiasi et al. 2021).

    INPUT.IMAGE_SIZE is the side of the square in pixels; the picture is scaled to fit into a square of MIN_SCALE to
    MAX_SCALE times that side. Padding at the right and bottom is 128 in the picture.
    """
    inputs, side = cfg.INPUT, cfg.INPUT.IMAGE_SIZE
    flips = {"horizontal": [T.RandomFlip()], "vertical": [T.RandomFlip(horizontal=False, vertical=True)]}
    return [
        *flips.get(inputs.RANDOM_FLIP, []),
        *_colour(cfg),
        ResizeScale(inputs.MIN_SCALE, inputs.MAX_SCALE, side, side),
        T.FixedSizeCrop((side, side)),
    ]


def reads_labels(augmentation: T.Augmentation | T.Transform) -> bool:
    """Tell whether an augmentation looks at the label map."""
    limited = isinstance(augmentation, T.RandomCrop_CategoryAreaConstraint)
    return limited and augmentation.single_category_max_area < 1.0


def _colour(cfg: CfgNode) -> list[T.Augmentation]:
    return [SSDColorJitter(image_format=cfg.INPUT.FORMAT)] if cfg.INPUT.COLOR_AUG_SSD else []
