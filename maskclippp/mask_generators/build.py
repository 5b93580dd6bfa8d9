"""Registry of mask generators."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..structures import MaskSet
from ..utils.errors import UserError
from ..utils.registry import Registry
from .base import MaskGenerator

MASK_GENERATOR_REGISTRY = Registry("MASK_GENERATOR")
MASK_GENERATOR_REGISTRY.__doc__ = """
Mask generators (config key MODEL.MASKCLIPPP.SEGMENTOR.NAME): subclasses of MaskGenerator, called with the whole config.
"""

DEFAULT_NAME = "FCCLIPSegmentor"
"""What SEGMENTOR.NAME is when a config does not set it."""


class NoGenerator(MaskGenerator):
    """Stands where a config has no usable generator; calling it tells so.

    Args:
        name: the generator that the config names.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(
        self, records: list[dict[str, Any]], *, sizes: list[tuple[int, int]], features: dict[str, list[Tensor]]
    ) -> MaskSet:
        """Raise UserError."""
        raise UserError(
            f"the config has no mask generator: SEGMENTOR.NAME {self.name} needs a VISUAL_ENCODER_F; evaluate with a "
            "config that has both, or set MODEL.MASKCLIPPP.SEGMENTOR.NAME to GTSegmentor or OfflineSegmentor"
        )


def build_mask_generator(cfg) -> MaskGenerator | None:
    """Build the generator that the config names; None for NAME "none".

    Configs without a frozen encoder (VISUAL_ENCODER_F) cannot feed a generator that needs features: such configs train,
    and say in inference what is missing.

    Raises:
        UserError: unknown NAME.
    """
    name = cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME
    if name.lower() == "none":
        return None
    without_features = cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME.lower() == "none"
    if without_features and (name == DEFAULT_NAME or MASK_GENERATOR_REGISTRY.get(name).needs_features):
        return NoGenerator(name)
    generator = MASK_GENERATOR_REGISTRY.get(name)(cfg)
    if not isinstance(generator, MaskGenerator):
        raise TypeError(f"mask generator {name} is a {type(generator).__name__}, not a MaskGenerator")
    return generator
