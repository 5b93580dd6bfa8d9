"""Registry of mask generators."""

from __future__ import annotations

from collections.abc import Mapping

from detectron2.layers import ShapeSpec

from maskclippp.structures import MaskSet
from maskclippp.utils.errors import UserError
from maskclippp.utils.registry import Registry

from .base import GeneratorInput, MaskGenerator

MASK_GENERATOR_REGISTRY = Registry("MASK_GENERATOR")
MASK_GENERATOR_REGISTRY.__doc__ = """
Mask generators (config key MODEL.MASKCLIPPP.SEGMENTOR.NAME): subclasses of MaskGenerator, called with the whole config,
and those that need features also with the shapes of the frozen encoder's features by name.
"""


class NoGenerator(MaskGenerator):
    """Stands where a config has no generator that can be used, as in training; asking it for masks is an error.

    Args:
        reason: why there is none.
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason

    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Raise UserError."""
        raise UserError(
            f"the config has no mask generator: {self.reason}; evaluate with a config that has both, or set "
            "MODEL.MASKCLIPPP.SEGMENTOR.NAME to GTSegmentor or OfflineSegmentor"
        )


def build_mask_generator(cfg, features: Mapping[str, ShapeSpec] | None = None) -> MaskGenerator:
    """Build the generator that the config names; for NAME "none" one that has no masks.

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
        return NoGenerator("SEGMENTOR.NAME is none")
    kind = MASK_GENERATOR_REGISTRY.get(name)
    if kind.needs_features and not features:
        return NoGenerator(f"SEGMENTOR.NAME {name} needs a VISUAL_ENCODER_F")
    if kind.needs_text and cfg.MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME.lower() == "none":
        raise UserError(
            f"SEGMENTOR.NAME {name} classifies by names, which a text encoder of its own must embed; set "
            "MODEL.MASKCLIPPP.TEXT_ENCODER_F (NAME and MODEL_NAME of the CLIP that VISUAL_ENCODER_F is of)"
        )
    generator = kind(cfg, features) if kind.needs_features else kind(cfg)
    if not isinstance(generator, MaskGenerator):
        raise TypeError(f"mask generator {name} is a {type(generator).__name__}, not a MaskGenerator")
    return generator
