"""Meta-architectures: wiring only."""

from .base import Method, StepTargets
from .build import build_method
from .labeller import Labeller
from .mask2former import Mask2Former
from .maskclippp import MaskCLIPpp
from .tta import AugmentedLabeller

__all__ = ["AugmentedLabeller", "Labeller", "Mask2Former", "MaskCLIPpp", "Method", "StepTargets", "build_method"]
