"""Registry of mask policies."""

from __future__ import annotations

from typing import Any

from maskclippp.utils.registry import Registry

from ..towers.base import Tower
from .base import MaskPolicy

MASK_POLICY_REGISTRY = Registry("MASK_POLICY")
MASK_POLICY_REGISTRY.__doc__ = """
Mask policies (key MASK_POLICY of a VISUAL_ENCODER node): subclasses of MaskPolicy, called with that node and the tower.
"""


def build_mask_policy(node: Any, tower: Tower) -> MaskPolicy:
    """Build the policy that a VISUAL_ENCODER config node names, for a tower.

    Raises:
        UserError: unknown MASK_POLICY, or settings that do not fit the tower.
    """
    policy = MASK_POLICY_REGISTRY.get(node.MASK_POLICY)(node, tower)
    if not isinstance(policy, MaskPolicy):
        raise TypeError(f"mask policy {node.MASK_POLICY} is a {type(policy).__name__}, not a MaskPolicy")
    return policy
