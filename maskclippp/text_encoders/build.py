"""Registry of text encoders."""

from __future__ import annotations

from maskclippp.utils.checkpoint_io import load_part
from maskclippp.utils.registry import Registry

from .base import TextEncoder

TEXT_ENCODER_REGISTRY = Registry("TEXT_ENCODER")
TEXT_ENCODER_REGISTRY.__doc__ = """
Text encoders: subclasses of TextEncoder, called with the config node MODEL.MASKCLIPPP.TEXT_ENCODER (or _F).
"""


def build_text_encoder(node) -> TextEncoder | None:
    """Build the encoder that the config node names; None for NAME "none".

    LOAD_FROM is a checkpoint whose entries below LOAD_BEG_KEY replace the encoder's weights.

    Raises:
        UserError: unknown NAME, or a LOAD_FROM that does not fit.
    """
    if node.NAME.lower() == "none":
        return None
    encoder = TEXT_ENCODER_REGISTRY.get(node.NAME)(node)
    if not isinstance(encoder, TextEncoder):
        raise TypeError(f"text encoder {node.NAME} is a {type(encoder).__name__}, not a TextEncoder")
    if node.LOAD_FROM:
        load_part(encoder, node.LOAD_FROM, node.LOAD_BEG_KEY)
    return encoder
