"""What encoders share whose attention is biased by masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..structures import ResampledMasks
from ..utils.errors import UserError
from .base import VisualEncoder
from .mask_tokens import DOWNSAMPLE_METHODS, downsample_masks, inside_mask, pad_masks


def mask_options(node) -> dict[str, Any]:
    """Read the keys of mask guidance from a VISUAL_ENCODER config node."""
    return {
        "mask_prior_beg": node.MASK_PRIOR_BEG,
        "downsample_method": node.DOWNSAMPLE_METHOD,
        "mask_threshold": node.DOWN_MASK_THRESH,
        "mask_logit_scale": node.MASK_LOGIT_SCALE,
        "learnable_mask_logit_scale": node.LEARNABLE_MASK_LOGIT_SCALE,
    }


class MaskGuidedEncoder(VisualEncoder):
    """An encoder with masks on its patch grid and a scale s per head: the bias inside a mask is m * exp(s).

    Args:
        scale_shape: of s.
        downsample_method: how masks come to the patch grid, see :func:`mask_tokens.downsample_masks`.
        mask_threshold: patches above it are inside; None: half of the mask's own maximum on the patch grid.
        mask_logit_scale: first value of s.
        learnable_mask_logit_scale: s trains and is saved.
        options: see :class:`VisualEncoder`.
    """

    def __init__(
        self,
        *,
        scale_shape: tuple[int, ...],
        downsample_method: str = "bilinear",
        mask_threshold: float | None = None,
        mask_logit_scale: float = 0.0,
        learnable_mask_logit_scale: bool = False,
        **options,
    ) -> None:
        super().__init__(**options)
        if downsample_method not in DOWNSAMPLE_METHODS:
            raise UserError(f"DOWNSAMPLE_METHOD '{downsample_method}' is none of {', '.join(DOWNSAMPLE_METHODS)}")
        self.downsample_method = downsample_method
        self.mask_threshold = mask_threshold
        scale = torch.full(scale_shape, float(mask_logit_scale))
        if learnable_mask_logit_scale:
            self.mask_logit_scale = nn.Parameter(scale)
        else:
            self.register_buffer("mask_logit_scale", scale, persistent=False)

    def on_grid(self, masks: list[ResampledMasks], grid: tuple[int, int]) -> tuple[list[Tensor], Tensor, Tensor]:
        """Bring B views (Q, Hp, Wp) to the patch grid.

        Returns:
            B tensors (Q, h, w); the same stacked, (B, max Q, h*w); and where patches are inside, bool of that shape.
        """
        small = [downsample_masks(picture, grid, self.downsample_method) for picture in masks]
        guide = pad_masks(small)
        return small, guide, inside_mask(guide, self.mask_threshold)
