"""Registry of text encoders."""

from __future__ import annotations

from ..utils.registry import Registry
from .base import TextEncoder

TEXT_ENCODER_REGISTRY = Registry("TEXT_ENCODER")
TEXT_ENCODER_REGISTRY.__doc__ = """
Text encoders: subclasses of TextEncoder, called with the config node MODEL.MASKCLIPPP.TEXT_ENCODER (or _F).
"""


def build_text_encoder(node) -> TextEncoder | None:
    """Build the encoder that the config node names; None for NAME "none".

    Raises:
        UserError: unknown NAME.
    """
    if node.NAME.lower() == "none":
        return None
    encoder = TEXT_ENCODER_REGISTRY.get(node.NAME)(node)
    if not isinstance(encoder, TextEncoder):
        raise TypeError(f"text encoder {node.NAME} is a {type(encoder).__name__}, not a TextEncoder")
    return encoder
