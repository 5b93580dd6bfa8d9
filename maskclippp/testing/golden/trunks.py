"""Image trunks of timm that a case names but timm does not know: their sizes are read from the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
from timm.models.convnext import convnext_tiny
from torch import Tensor


def with_known_trunk(model_config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the model config with a ConvNeXt trunk that timm can make; other configs are returned as they are.

    Args:
        model_config: in open_clip's format.
        weights: by official key.
    """
    vision = model_config["vision_cfg"]
    name = vision.get("timm_model_name")
    if name is None or timm.is_model(name):
        return dict(model_config)
    return {**model_config, "vision_cfg": {**vision, "timm_model_name": _register_convnext(weights)}}


def _register_convnext(weights: Mapping[str, Tensor]) -> str:
    """Make timm know a ConvNeXt of the depths and widths that the weights have; return its name."""
    width_of = {
        tuple(int(part) for part in key.split("trunk.stages.")[1].split(".")[:3:2]): len(weight)
        for key, weight in weights.items()
        if "trunk.stages." in key and key.endswith("conv_dw.weight")
    }  # (stage, block) -> width
    stages = sorted({stage for stage, _ in width_of})
    depths = tuple(sum(stage == other for other, _ in width_of) for stage in stages)
    widths = tuple(width_of[stage, 0] for stage in stages)
    name = "convnext_" + "_".join(f"{depth}x{width}" for depth, width in zip(depths, widths, strict=True))

    def entry(pretrained: bool = False, **options: Any):
        return convnext_tiny(pretrained, **{"depths": depths, "dims": widths, **options})

    if not timm.is_model(name):
        entry.__name__ = name
        timm.models.register_model(entry)
    return name
