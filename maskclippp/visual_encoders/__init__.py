"""Pictures and masks -> embeddings."""

from . import convnext, d2_backbone, dummy, pool_encoder, swin, token_encoder  # noqa: F401  (registers the encoders)
from .base import VisualEncoder
from .build import VISUAL_ENCODER_REGISTRY, build_visual_encoder

__all__ = ["VISUAL_ENCODER_REGISTRY", "VisualEncoder", "build_visual_encoder"]
