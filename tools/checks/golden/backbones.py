"""Kind of the Swin backbone."""

from __future__ import annotations

import torch

from maskclippp.config import default_config
from maskclippp.visual_encoders import build_visual_encoder
from maskclippp.visual_encoders.swin import STAGES

from .batches import per_picture
from .canvas import compare_canvas, read_pictures
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
    images, _, canvas = read_pictures(case, encoder.test_transform)
    yield from compare_canvas(case, canvas, images)
    encoder.test_transform = canvas
    features = encoder(images).features
    for name in STAGES:
        for stored in {name, name + encoder.feature_suffix}:
            yield from per_picture(case, stored, features[name + encoder.feature_suffix])
