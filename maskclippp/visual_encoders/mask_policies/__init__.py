"""Mask policies: how masks guide attention, for any tower that has what they need."""

from .base import MaskGuide, MaskPolicy
from .build import MASK_POLICY_REGISTRY, build_mask_policy
from .hard_block import HardBlock
from .soft_bias import SoftBias

__all__ = ["MASK_POLICY_REGISTRY", "HardBlock", "MaskGuide", "MaskPolicy", "SoftBias", "build_mask_policy"]
