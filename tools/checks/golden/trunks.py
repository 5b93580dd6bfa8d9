"""Image trunks of timm that a case names but timm does not know: their sizes are read from the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import timm
from timm.models.convnext import convnext_tiny
from timm.models.eva import eva02_base_patch16_clip_224
from torch import Tensor

# The text tower of an EVA case has keys that open_clip does not know; it is made by itself.
TEXT_OF_EVA = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1}


def with_known_trunk(model_config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the model config with a ConvNeXt trunk that timm can make; other configs are returned as they are.

    Args:
        model_config: in open_clip's format.
        weights: by official key.
    """
    vision = model_config["vision_cfg"]
    if "eva_model_name" in vision:
        tower = {"timm_model_name": _register_eva(vision), "timm_pool": "token", "timm_proj": None}
        return {**model_config, "vision_cfg": {"image_size": vision["image_size"], **tower}, "text_cfg": TEXT_OF_EVA}
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


def _register_eva(vision: Mapping[str, Any]) -> str:
    """Make timm know the EVA tower that a config of the EVA-CLIP project describes; return its name."""
    sub_norm = vision.get("subln", False)
    reference_grid = vision.get("pt_hw_seq_len", 16)
    sizes = {
        "img_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embed_dim": vision["width"],
        "depth": vision["layers"],
        "num_heads": vision["width"] // vision["head_width"],
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
        "qkv_fused": not sub_norm,
        "swiglu_mlp": vision.get("naiveswiglu", False),
        "scale_mlp": sub_norm,
        "scale_attn_inner": sub_norm,
        "use_rot_pos_emb": vision.get("rope", False),
        "ref_feat_shape": (reference_grid, reference_grid),
        "use_post_norm": vision.get("postnorm", False),
    }
    name = "eva_case_" + hashlib.sha256(repr(sizes).encode()).hexdigest()[:12]

    def entry(pretrained: bool = False, **options: Any):
        return eva02_base_patch16_clip_224(pretrained, **{**sizes, **options})

    if not timm.is_model(name):
        entry.__name__ = name
        timm.models.register_model(entry)
    return name
