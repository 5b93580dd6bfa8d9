"""Masks on the patch grid of an encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.structures import ResampledMasks

DOWNSAMPLE_METHODS = ("bilinear", "nearest", "bicubic", "avg", "max")


def downsample_masks(masks: Tensor | ResampledMasks, grid: tuple[int, int], method: str = "bilinear") -> Tensor:
    """Bring masks to the patch grid.

    Args:
        masks: (Q, Hp, Wp) with values in [0, 1]; Q may be 0.
        grid: (h, w).
        method: "bilinear", "nearest" or "bicubic" interpolation without antialiasing, "avg" or "max" pooling.

    Returns:
        (Q, h, w).
    """
    masks = ResampledMasks.of(masks)
    if method == "max" and len(masks):  # not linear, so not a step of the view
        return F.adaptive_max_pool2d(masks.dense(), grid)
    return masks.resize(grid, method).dense()


def pad_masks(masks: list[Tensor]) -> Tensor:
    """Stack B tensors (Q, h, w) of different Q to (B, max Q, h*w), with empty masks in the free places."""
    return torch.nn.utils.rnn.pad_sequence([picture.flatten(1) for picture in masks], batch_first=True)
