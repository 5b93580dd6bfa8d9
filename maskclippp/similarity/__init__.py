"""Embeddings -> class logits."""

from maskclippp.structures.synonyms import max_over_synonyms

from . import psm  # noqa: F401  (registers the heads)
from .build import PSM_REGISTRY, build_psm
from .context import SimilarityContext
from .cosine import cosine_similarity

__all__ = ["PSM_REGISTRY", "SimilarityContext", "build_psm", "cosine_similarity", "max_over_synonyms"]
