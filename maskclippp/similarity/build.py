"""Registry of similarity heads (PSM)."""

from __future__ import annotations

from detectron2.layers import ShapeSpec
from torch import nn

from maskclippp.utils.registry import Registry

PSM_REGISTRY = Registry("PSM")
PSM_REGISTRY.__doc__ = """
Heads of parameterised similarity modelling: called with the config node MODEL.MASKCLIPPP, the number of templates T
and the visual encoder's output shapes;
forward(similarity (N, Ka, T), context: SimilarityContext) -> logits (N, Ka), the same way for every class.
"""


def build_psm(node, num_templates: int, visual_shapes: dict[str, ShapeSpec]) -> nn.Module:
    """Build the head that ``node.PSM.NAME`` names.

    Raises:
        UserError: unknown NAME.
    """
    return PSM_REGISTRY.get(node.PSM.NAME)(node, num_templates, visual_shapes)
