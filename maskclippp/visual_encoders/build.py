"""Registry of visual encoders."""

from __future__ import annotations

from ..utils.registry import Registry
from .base import VisualEncoder

VISUAL_ENCODER_REGISTRY = Registry("VISUAL_ENCODER")
VISUAL_ENCODER_REGISTRY.__doc__ = """
Visual encoders: subclasses of VisualEncoder, called with the config node MODEL.MASKCLIPPP.VISUAL_ENCODER (or _F).
"""


def build_visual_encoder(node) -> VisualEncoder | None:
    """Build the encoder that the config node names; None for NAME "none".

    Raises:
        UserError: unknown NAME.
    """
    if node.NAME.lower() == "none":
        return None
    encoder = VISUAL_ENCODER_REGISTRY.get(node.NAME)(node)
    if not isinstance(encoder, VisualEncoder):
        raise TypeError(f"visual encoder {node.NAME} is a {type(encoder).__name__}, not a VisualEncoder")
    return encoder
