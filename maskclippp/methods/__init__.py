"""Meta-architectures: wiring only."""

from .mask2former import Mask2Former
from .maskclippp import MaskCLIPpp

__all__ = ["Mask2Former", "MaskCLIPpp"]
