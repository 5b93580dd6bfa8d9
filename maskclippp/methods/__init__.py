"""Meta-architectures: wiring only."""

from .maskclippp import MaskCLIPpp

__all__ = ["MaskCLIPpp"]
