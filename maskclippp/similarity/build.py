"""Registry of similarity heads (PSM)."""

from __future__ import annotations

from torch import nn

from ..utils.registry import Registry

PSM_REGISTRY = Registry("PSM")
PSM_REGISTRY.__doc__ = """
Heads of parameterised similarity modelling: called with the config node MODEL.MASKCLIPPP and the number of templates T;
forward(similarity (N, Ka, T), context: SimilarityContext) -> logits (N, Ka), the same way for every class.
"""


def build_psm(node, num_templates: int) -> nn.Module:
    """Build the head that ``node.PSM.NAME`` names.

    Raises:
        UserError: unknown NAME.
    """
    return PSM_REGISTRY.get(node.PSM.NAME)(node, num_templates)
