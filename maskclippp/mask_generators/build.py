"""Registry of mask generators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.layers import ShapeSpec
from torch import Tensor

from ..structures import MaskSet, TextBank
from ..utils.errors import UserError
from ..utils.registry import Registry
from .base import MaskGenerator

MASK_GENERATOR_REGISTRY = Registry("MASK_GENERATOR")
MASK_GENERATOR_REGISTRY.__doc__ = """
Mask generators (config key MODEL.MASKCLIPPP.SEGMENTOR.NAME): subclasses of MaskGenerator, called with the whole config,
and those that need features also with the shapes of the frozen encoder's features by name.
"""


class NoGenerator(MaskGenerator):
    """Stands where a config has no usable generator; calling it tells so.

    Args:
        name: the generator that the config names.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(
        self,
        records: list[dict[str, Any]],
        *,
        sizes: list[tuple[int, int]],
        features: dict[str, list[Tensor]],
        text: TextBank | None = None,
    ) -> MaskSet:
        """Raise UserError."""
        raise UserError(
            f"the config has no mask generator: SEGMENTOR.NAME {self.name} needs a VISUAL_ENCODER_F; evaluate with a "
            "config that has both, or set MODEL.MASKCLIPPP.SEGMENTOR.NAME to GTSegmentor or OfflineSegmentor"
        )


def build_mask_generator(cfg, features: Mapping[str, ShapeSpec] | None = None) -> MaskGenerator | None:
    """Build the generator that the config names; None for NAME "none".

    Configs without a frozen encoder (VISUAL_ENCODER_F) cannot feed a generator that needs features: such configs train,
    and say in inference what is missing.

    Args:
        cfg: the whole config.
        features: channels and stride of the frozen encoder's features, by name; None or empty: there are none.

    Raises:
        UserError: unknown NAME, a feature that the generator needs and the encoder lacks, no TEXT_ENCODER_F for a
            generator that needs it, or weights that do not fit.
    """
    name = cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME
    if name.lower() == "none":
        return None
    kind = MASK_GENERATOR_REGISTRY.get(name)
    if kind.needs_features and not features:
        return NoGenerator(name)
    if kind.needs_text and cfg.MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME.lower() == "none":
        raise UserError(
            f"SEGMENTOR.NAME {name} classifies by names, which a text encoder of its own must embed; set "
            "MODEL.MASKCLIPPP.TEXT_ENCODER_F (NAME and MODEL_NAME of the CLIP that VISUAL_ENCODER_F is of)"
        )
    generator = kind(cfg, features) if kind.needs_features else kind(cfg)
    if not isinstance(generator, MaskGenerator):
        raise TypeError(f"mask generator {name} is a {type(generator).__name__}, not a MaskGenerator")
    return generator
