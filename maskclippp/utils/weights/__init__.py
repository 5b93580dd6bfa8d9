"""Weights by name: which files are known, where they go, and how they come there."""

from .clip import ClipWeights, find_clip_weights
from .fetch import ensure_weights, fetch
from .known import KNOWN, WeightFile, known_file
from .listing import table
from .skip import weights_are_skipped, without_weights

__all__ = [
    "KNOWN",
    "ClipWeights",
    "WeightFile",
    "ensure_weights",
    "fetch",
    "find_clip_weights",
    "known_file",
    "table",
    "weights_are_skipped",
    "without_weights",
]
