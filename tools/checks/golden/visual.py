"""Kinds of the visual encoder room."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.structures import ImageBatch, ImageTransform
from maskclippp.visual_encoders import VisualEncoder, build_visual_encoder

from ..tiny_clip import register_model
from .case import Case, Results, golden_kind
from .nodes import node_from
from .trunks import with_known_trunk


class CommonCanvas:
    """A transform that pads all pictures to one size, as stored results of several pictures were made.

    Ours gives every picture the padding it needs by itself, so that a result does not depend on the batch.

    Args:
        transform: the encoder's.
    """

    def __init__(self, transform: ImageTransform) -> None:
        self.transform = transform

    def __call__(self, images: list[Tensor], masks: list[Tensor] | None = None) -> list[ImageBatch]:
        """Return one batch."""
        batches = self.transform(images, masks)
        height = max(batch.pixels.shape[-2] for batch in batches)
        width = max(batch.pixels.shape[-1] for batch in batches)

        def pad(pixels: Tensor) -> Tensor:
            return F.pad(pixels, (0, width - pixels.shape[-1], 0, height - pixels.shape[-2]))

        return [
            ImageBatch(
                pixels=torch.cat([pad(batch.pixels) for batch in batches]),
                masks=[masks.pad((height, width)) for batch in batches for masks in batch.masks],
                sizes=[size for batch in batches for size in batch.sizes],
                index=[index for batch in batches for index in batch.index],
            )
        ]


@golden_kind("clip_vit_", "clip_convnext_", "clip_rn_", "eva_vit_", "eva01_vit_")
@torch.no_grad()
def mask_embeddings(case: Case) -> Results:
    """Build the encoder that ``cfg`` names; run all pictures as one batch."""
    encoder = build_encoder(case)
    images = case.inputs("image")
    masks = case.inputs("masks") or None
    canvas = CommonCanvas(encoder.test_transform)
    (batch,) = canvas(images, masks)
    yield "canvas", batch.pixels[torch.tensor(batch.index).argsort()]
    encoder.test_transform = canvas
    output = encoder(images, masks)
    for index in range(len(images)):
        if output.mask_embeddings is not None:
            yield f"m_embs.{index}", output.mask_embeddings[index]
            yield f"areas.{index}", output.areas[index]
    for name, feature in output.features.items():
        yield name, torch.stack(feature)
        for index, value in enumerate(feature):
            yield f"{name}.{index}", value


def build_encoder(case: Case) -> VisualEncoder:
    """Build the encoder of ``cfg`` and ``model_config``, with the case's weights."""
    node = node_from("MODEL.MASKCLIPPP.VISUAL_ENCODER", case.meta["cfg"])
    node.MODEL_NAME = register_model(with_known_trunk(case.meta["model_config"], case.parameters()))
    encoder = build_visual_encoder(node)
    case.load_into(visual_encoder=encoder)
    return encoder
