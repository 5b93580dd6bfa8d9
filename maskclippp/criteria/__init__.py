"""Logits and targets -> named losses."""

from . import mask_cross_entropy  # noqa: F401  (registers the criterion)
from .build import CRITERION_REGISTRY, build_criterion
from .matching import MaskTargets
from .set_criterion import SetCriterion

__all__ = ["CRITERION_REGISTRY", "MaskTargets", "SetCriterion", "build_criterion"]
