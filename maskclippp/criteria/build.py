"""Registry of criteria."""

from __future__ import annotations

from torch import nn

from maskclippp.utils.registry import Registry

CRITERION_REGISTRY = Registry("CRITERION")
CRITERION_REGISTRY.__doc__ = """
Criteria: called with the config node MODEL.MASKCLIPPP.CRITERION; forward(logits (N, K), labels (N,), image_index (N,),
areas (N,), divisor) returns {name: scalar loss}, a sum over images that is divided by the divisor, or by their own
number; count_images(areas of each image) tells that number.
"""


def build_criterion(node) -> nn.Module:
    """Build the criterion that the config node names.

    Raises:
        UserError: unknown NAME.
    """
    return CRITERION_REGISTRY.get(node.NAME)(node)
