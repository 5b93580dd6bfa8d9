"""Registry of mask generators."""

from __future__ import annotations

from ..utils.registry import Registry
from .base import MaskGenerator

MASK_GENERATOR_REGISTRY = Registry("MASK_GENERATOR")
MASK_GENERATOR_REGISTRY.__doc__ = """
Mask generators (config key MODEL.MASKCLIPPP.SEGMENTOR.NAME): subclasses of MaskGenerator, called with the whole config.
"""


def build_mask_generator(cfg) -> MaskGenerator | None:
    """Build the generator that the config names; None for NAME "none".

    Raises:
        UserError: unknown NAME.
    """
    name = cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME
    if name.lower() == "none":
        return None
    generator = MASK_GENERATOR_REGISTRY.get(name)(cfg)
    if not isinstance(generator, MaskGenerator):
        raise TypeError(f"mask generator {name} is a {type(generator).__name__}, not a MaskGenerator")
    return generator
