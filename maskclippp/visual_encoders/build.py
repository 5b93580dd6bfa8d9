"""Registry of visual encoders."""

from __future__ import annotations

from maskclippp.utils.checkpoint_io import load_part
from maskclippp.utils.registry import Registry

from .base import VisualEncoder

VISUAL_ENCODER_REGISTRY = Registry("VISUAL_ENCODER")
VISUAL_ENCODER_REGISTRY.__doc__ = """
Visual encoders: subclasses of VisualEncoder, called with the config node MODEL.MASKCLIPPP.VISUAL_ENCODER (or _F), and
with ``whole``, the whole config, for backbones whose settings lie elsewhere in it.
"""


def build_visual_encoder(node, cfg=None) -> VisualEncoder | None:
    """Build the encoder that the config node names; None for NAME "none".

    LOAD_FROM is a checkpoint whose entries below LOAD_BEG_KEY replace the tower's weights.

    Args:
        node: VISUAL_ENCODER or VISUAL_ENCODER_F.
        cfg: the whole config; only the backbones of detectron2 need it.

    Raises:
        UserError: unknown NAME, or a LOAD_FROM that does not fit.
    """
    if node.NAME.lower() == "none":
        return None
    encoder = VISUAL_ENCODER_REGISTRY.get(node.NAME)(node, whole=cfg)
    if not isinstance(encoder, VisualEncoder):
        raise TypeError(f"visual encoder {node.NAME} is a {type(encoder).__name__}, not a VisualEncoder")
    if node.LOAD_FROM:
        load_part(encoder.proxy, node.LOAD_FROM, node.LOAD_BEG_KEY)
    return encoder
