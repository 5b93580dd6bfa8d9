"""Masks as permissions: a mask token reads the patches under its mask and no others."""

from __future__ import annotations

from typing import Any

from detectron2.config import configurable
from torch import Tensor

from ..towers.base import Tower
from .base import MaskGuide, MaskPolicy
from .build import MASK_POLICY_REGISTRY


@MASK_POLICY_REGISTRY.register()
class HardBlock(MaskPolicy):
    """The policy of IP-CLIP (Jiao et al. 2023, "Learning Mask-aware CLIP Representations", section 3.1).

    A mask token reads itself and the patches under its mask, an empty mask's reads only itself; from the first block
    with masks on, patches no longer read a class token.

    Args:
        mask_threshold: a patch is inside where the mask reaches it.
        options: see :class:`MaskPolicy`.
    """

    sees_itself = True
    patches_see_class = False

    @configurable
    def __init__(self, *, mask_threshold: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        self.mask_threshold = mask_threshold

    @classmethod
    def from_config(cls, cfg, tower: Tower) -> dict[str, Any]:
        """Read a VISUAL_ENCODER config node."""
        return {
            "first_block": cfg.MASK_PRIOR_BEG,
            "mask_threshold": cfg.DOWN_MASK_THRESH,
            "downsample_method": cfg.DOWNSAMPLE_METHOD,
        }

    def inside(self, values: Tensor) -> Tensor:
        """Tell where masks (..., h*w) reach the threshold."""
        return values >= self.mask_threshold

    def bias(self, guide: MaskGuide, blocks_left: int) -> Tensor:
        """Return the permissions, the same in all blocks, (B, 1, Q, h*w) bool."""
        return guide.inside[:, None]
