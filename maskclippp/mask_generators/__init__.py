"""Picture -> masks, and logits if the generator has a classifier."""

from . import fcclip, ground_truth, huggingface, mask2former, offline  # noqa: F401  (registers the generators)
from .base import GeneratorInput, MaskGenerator
from .build import MASK_GENERATOR_REGISTRY, NoGenerator, build_mask_generator

__all__ = ["MASK_GENERATOR_REGISTRY", "GeneratorInput", "MaskGenerator", "NoGenerator", "build_mask_generator"]
