"""Kind of the Swin backbone."""

from __future__ import annotations

import torch

from maskclippp.config import default_config
from maskclippp.visual_encoders import build_visual_encoder
from maskclippp.visual_encoders.swin import STAGES

from .case import Case, Results, golden_kind
from .nodes import change


@golden_kind("swin")
@torch.no_grad()
def swin_features(case: Case) -> Results:
    """Encode all pictures with the frozen Swin encoder that ``cfg`` describes."""
    cfg = default_config()
    change(cfg.MODEL.SWIN, case.meta["cfg"])
    node = cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F
    change(node, case.meta["cfg"] | {"NAME": "D2SwinTransformer"})
    encoder = build_visual_encoder(node, cfg)
    case.load_into(backbone=encoder.proxy)
    images = case.inputs("image")
    yield "canvas", torch.cat([batch.pixels for batch in encoder.transform(images)])
    output = encoder(images)
    for name in STAGES:
        yield name, torch.stack(output.features[name + encoder.feature_suffix])
