"""Sentences -> text vectors, and the text banks of whole vocabularies."""

from . import open_clip_text  # noqa: F401  (registers the encoders)
from .bank import TextClassifier, average_templates
from .base import TextEncoder
from .build import TEXT_ENCODER_REGISTRY, build_text_encoder
from .cache import EmbeddingCache, default_cache

__all__ = [
    "TEXT_ENCODER_REGISTRY",
    "EmbeddingCache",
    "TextClassifier",
    "TextEncoder",
    "average_templates",
    "build_text_encoder",
    "default_cache",
]
