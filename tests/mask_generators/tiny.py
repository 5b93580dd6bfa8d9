"""Small heads of Mask2Former's kind, with features to match."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.mask_generators.head import MaskHead
from maskclippp.structures import TextBank

STRIDES = {"res2_f": 4, "res3_f": 8, "res4_f": 16, "res5_f": 32}
CHANNELS = {"res2_f": 6, "res3_f": 8, "res4_f": 10, "res5_f": 12}
SHAPES = {name: ShapeSpec(channels=CHANNELS[name], stride=stride) for name, stride in STRIDES.items()}
TEXT_WIDTH = 20


def tiny_config(name: str = "Mask2FormerSegmentor") -> CfgNode:
    """Config of a generator with 32 channels, 2 heads, 2 encoder and 4 decoder layers, 7 queries, 5 classes."""
    cfg = default_config()
    cfg.merge_from_list(
        [
            *("MODEL.MASK_FORMER.NHEADS", 2),
            *("MODEL.MASK_FORMER.HIDDEN_DIM", 32),
            *("MODEL.MASK_FORMER.DIM_FEEDFORWARD", 48),
            *("MODEL.MASK_FORMER.DEC_LAYERS", 5),
            *("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 7),
            *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 5),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 32),
            *("MODEL.SEM_SEG_HEAD.MASK_DIM", 32),
            *("MODEL.SEM_SEG_HEAD.NORM", "GN"),
            *("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", 2),
            *("MODEL.MASKCLIPPP.SEGMENTOR.NAME", name),
            *("MODEL.MASKCLIPPP.SEGMENTOR.IN_FEATURES", list(STRIDES)),
            *("MODEL.MASKCLIPPP.SEGMENTOR.TRANSFORMER_IN_FEATURES", list(STRIDES)[1:]),
        ]
    )
    if name == "FCCLIPSegmentor":
        cfg.MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME = "CLIPTextEncoder"
    return cfg


def tiny_head(*, embed_dim: int | None = None, seed: int = 0) -> MaskHead:
    """A head in evaluation mode, with weights that make masks of many sizes."""
    torch.manual_seed(seed)
    head = MaskHead(tiny_config(), SHAPES, list(STRIDES), list(STRIDES)[1:], embed_dim).eval()
    scatter(head)
    return head


def scatter(module: torch.nn.Module) -> None:
    """Move all parameters off their starting values: zero biases and unit norms hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)


def random_maps(height: int, width: int, batch: int = 1, seed: int = 0) -> list[Tensor]:
    """Features of pictures of height x width pixels, multiples of 32, the finest first: (B, c, h, w) each."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, CHANNELS[name], height // stride, width // stride, generator=generator)
        for name, stride in STRIDES.items()
    ]


def random_text(counts: tuple[int, ...] = (2, 1, 3), seed: int = 0) -> TextBank:
    """Classes with so many names each."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(sum(counts), 1, TEXT_WIDTH, generator=generator), dim=-1)
    index = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return TextBank(embeddings, index, num_classes=len(counts))
