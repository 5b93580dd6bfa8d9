"""Masks as a soft bias on patches: the policy of MaskCLIP++ (Zeng et al. 2024, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import configurable
from torch import Tensor, nn

from ..towers.base import BlockTower, Tower
from .base import MaskGuide, MaskPolicy
from .build import MASK_POLICY_REGISTRY

OUTSIDE_BIAS = -100.0


@MASK_POLICY_REGISTRY.register()
class SoftBias(MaskPolicy):
    """Mask tokens read patches only, with a bias m * exp(s) inside the mask m and -100 outside.

    In a tower with attention pooling, the pooling is the only layer with masks.

    Args:
        num_heads: of the tower.
        num_layers: layers with masks; None for a pooling, whose s has no such axis.
        mask_threshold: patches above it are inside; None: half of the mask's own maximum on the patch grid.
        mask_logit_scale: first value of s, which is (layers, heads) or (heads,); its row 0 is the last block.
        learnable_mask_logit_scale: s trains and is saved.
        options: see :class:`MaskPolicy`.
    """

    @configurable
    def __init__(
        self,
        *,
        num_heads: int,
        num_layers: int | None = None,
        mask_threshold: float | None = None,
        mask_logit_scale: float = 0.0,
        learnable_mask_logit_scale: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mask_threshold = mask_threshold
        shape = (num_heads,) if num_layers is None else (num_layers, num_heads)
        scale = torch.full(shape, float(mask_logit_scale))
        if learnable_mask_logit_scale:
            self.mask_logit_scale = nn.Parameter(scale)
        else:
            self.register_buffer("mask_logit_scale", scale, persistent=False)

    @classmethod
    def from_config(cls, cfg, tower: Tower) -> dict[str, Any]:
        """Read a VISUAL_ENCODER config node; a tower with attention pooling needs no MASK_PRIOR_BEG."""
        first = {}
        if isinstance(tower, BlockTower):
            layers = len(tower.blocks) - cfg.MASK_PRIOR_BEG + 1
            first = {"first_block": cfg.MASK_PRIOR_BEG, "num_layers": max(layers, 0)}
        return {
            "num_heads": tower.num_heads,
            "mask_threshold": cfg.DOWN_MASK_THRESH,
            "mask_logit_scale": cfg.MASK_LOGIT_SCALE,
            "learnable_mask_logit_scale": cfg.LEARNABLE_MASK_LOGIT_SCALE,
            "downsample_method": cfg.DOWNSAMPLE_METHOD,
            **first,
        }

    def inside(self, values: Tensor) -> Tensor:
        """Tell where masks (..., h*w) exceed the threshold; an empty one does nowhere."""
        threshold = self.mask_threshold
        return values > (values.amax(dim=-1, keepdim=True) / 2 if threshold is None else threshold)

    def bias(self, guide: MaskGuide, blocks_left: int) -> Tensor:
        """Return the bias of one layer, (B, heads, Q, h*w)."""
        scale = self.mask_logit_scale if self.mask_logit_scale.dim() == 1 else self.mask_logit_scale[blocks_left]
        return soft_bias(guide.values, guide.inside, scale)


def soft_bias(masks: Tensor, inside: Tensor, logit_scale: Tensor) -> Tensor:
    """Return m * exp(s) inside the mask, -100 outside.

    Args:
        masks, inside: (B, Q, h*w) float and bool.
        logit_scale: (heads,), s.

    Returns:
        (B, heads, Q, h*w).
    """
    scaled = masks[:, None] * logit_scale.exp().view(1, -1, 1, 1)
    return scaled.masked_fill(~inside[:, None], OUTSIDE_BIAS)
