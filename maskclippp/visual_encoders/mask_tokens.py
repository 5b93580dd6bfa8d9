"""Masks as attention biases: the part that all mask-guided vision transformers share.

Source: MaskCLIP++ (Zeng et al. 2024), section 3.2. Image tokens never see mask tokens, so the masks need only a
Q x hw cross-attention beside the plain attention of the image tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..structures import ResampledMasks

OUTSIDE_BIAS = -100.0

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


def inside_mask(masks: Tensor, threshold: float | None) -> Tensor:
    """Return where masks (..., h*w) exceed the threshold; None: half of each mask's maximum. Empty: nowhere."""
    if threshold is None:
        threshold = masks.amax(dim=-1, keepdim=True) / 2
    return masks > threshold


def attention_bias(masks: Tensor, inside: Tensor, logit_scale: Tensor) -> Tensor:
    """Return the bias of one layer: m * exp(s) inside the mask, -100 outside.

    Args:
        masks, inside: (B, Q, h*w) float and bool.
        logit_scale: (heads,), s.

    Returns:
        (B, heads, Q, h*w).
    """
    scaled = masks[:, None] * logit_scale.exp().view(1, -1, 1, 1)
    return scaled.masked_fill(~inside[:, None], OUTSIDE_BIAS)


def pad_masks(masks: list[Tensor]) -> Tensor:
    """Stack B tensors (Q, h, w) of different Q to (B, max Q, h*w), with empty masks in the free places."""
    return torch.nn.utils.rnn.pad_sequence([picture.flatten(1) for picture in masks], batch_first=True)
