"""Kinds of the visual encoder room."""

from __future__ import annotations

import torch

from maskclippp.visual_encoders import VisualEncoder, build_visual_encoder

from ..tiny_clip import register_model
from .batches import per_picture
from .canvas import compare_canvas, read_pictures
from .case import Case, Results, golden_kind
from .nodes import node_from
from .trunks import with_known_trunk


@golden_kind("clip_vit_", "clip_convnext_", "clip_rn_", "eva_vit_", "eva01_vit_")
@torch.no_grad()
def mask_embeddings(case: Case) -> Results:
    """Build the encoder that ``cfg`` names; run all pictures as one batch, on the stored canvas."""
    encoder = build_encoder(case)
    images, masks, canvas = read_pictures(case, encoder.test_transform)
    yield from compare_canvas(case, canvas, images)
    encoder.test_transform = canvas
    output = encoder(images, masks)
    if output.mask_embeddings is not None:
        yield from per_picture(case, "m_embs", output.mask_embeddings)
        yield from per_picture(case, "areas", output.areas)
    for name, feature in output.features.items():
        yield from per_picture(case, name, feature)


def build_encoder(case: Case) -> VisualEncoder:
    """Build the encoder of ``cfg`` and ``model_config``, with the case's weights."""
    node = node_from("MODEL.MASKCLIPPP.VISUAL_ENCODER", case.meta["cfg"])
    node.MODEL_NAME = register_model(with_known_trunk(case.meta["model_config"], case.parameters()))
    encoder = build_visual_encoder(node)
    case.load_into(visual_encoder=encoder)
    return encoder
