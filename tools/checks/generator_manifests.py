"""Mask generators and their encoders against the key lists of published generator checkpoints."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from maskclippp.config import load_config
from maskclippp.mask_generators import build_mask_generator
from maskclippp.text_encoders import build_text_encoder
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder

NODE = "MODEL.MASKCLIPPP"
# What nobody reads: the loss's weights; of FC-CLIP the frozen CLIP, which is the public one; of MAFT+ the teacher's
# copy and the transfer of text embeddings to the picture.
LOSS = ("criterion.",)
FCCLIP = (*LOSS, "backbone.")
MAFT = (*LOSS, "backbone_t.", "cdt.")


@dataclass(frozen=True)
class Published:
    """A checkpoint of a generator.

    Attributes:
        config: the file, below ``configs``, that uses it.
        ignored: beginnings of the keys that nothing reads.
        options: overrides of the config.
    """

    config: str
    ignored: tuple[str, ...]
    options: tuple[str, ...] = ()


_SWIN_T = "coco-pan/clip-convnext-base/m2f-swin-t/maskclippp_coco-pan_clip-convnext-base_m2f-swin-t.yaml"
_EVA_L = "coco-stuff/eva-clip-vit-l-14-336"
_EVA_L_FILE = "maskclippp_coco-stuff_eva-clip-vit-l-14-336_wtext"

PUBLISHED = {
    "fcclip_convnext-base": Published(
        "coco-pan/clip-convnext-base/fcclip-b/maskclippp_coco-pan_clip-convnext-base_fcclip-b.yaml", FCCLIP
    ),
    "fcclip_convnext-large": Published(
        "coco-pan/clip-convnext-large/fcclip-l/maskclippp_coco-pan_clip-convnext-large_fcclip-l.yaml", FCCLIP
    ),
    "maftp_base": Published(
        "coco-stuff/clip-convnext-base/maft-b/maskclippp_coco-stuff_clip-convnext-base_maft-b.yaml", MAFT
    ),
    "maftp_large": Published(f"{_EVA_L}/maft-l/{_EVA_L_FILE}_maft-l.yaml", MAFT),
    "maftp_large_pano": Published(f"{_EVA_L}/maft-l-pan/{_EVA_L_FILE}_maft-l-pan.yaml", MAFT),
    "mask2former_swin-t": Published(_SWIN_T, LOSS),
    "mask2former_swin-l": Published(
        "coco-pan/clip-convnext-base/m2f-swin-l/maskclippp_coco-pan_clip-convnext-large_m2f-swin-l.yaml", LOSS
    ),
    # No published config uses it; the recipe's ResNet is the one that it is on.
    "mask2former_r50": Published(_SWIN_T, LOSS, (f"{NODE}.VISUAL_ENCODER_F.NAME", "D2Backbone")),
}


def check_generator(published: Published, manifest: dict[str, Any]) -> tuple[list[str], str]:
    """Load a checkpoint of the manifest's keys as the config would; return what is wrong, and how much was read."""
    names = [name for name, _, _ in manifest["keys"]]
    try:
        taken = set(_load(published, manifest))
    except UserError as error:
        return [" ".join(str(error).split())], ""
    read = [name for name in names if name in taken]
    rest = [name for name in names if name not in taken]
    ignored = [name for name in rest if name.startswith(published.ignored)]
    left = [name for name in rest if not name.startswith(published.ignored)]
    beginnings = sorted({next(b for b in published.ignored if name.startswith(b)) for name in ignored})
    summary = f"{len(read)} read, {len(ignored)} ignored ({', '.join(f'{b}*' for b in beginnings)})"
    return [f"left over ({len(left)}): {', '.join(left[:3])}"] if left else [], summary


def _load(published: Published, manifest: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the checkpoint's entries that a part of the model has taken."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.device("meta"):
        warnings.filterwarnings("ignore", message=".*is a no-op")  # filling a tensor that has no memory
        file = Path(folder, "checkpoint.pth")
        _write(manifest, file)
        cfg = _config(published, file)
        node = cfg.MODEL.MASKCLIPPP
        encoder = build_visual_encoder(node.VISUAL_ENCODER_F, cfg)
        text_encoder = build_text_encoder(node.TEXT_ENCODER_F)
        generator = build_mask_generator(cfg, encoder.output_shape())
    if node.VISUAL_ENCODER_F.LOAD_FROM:
        yield from _names(encoder.proxy, node.VISUAL_ENCODER_F.LOAD_BEG_KEY)
        yield from _names(text_encoder, node.TEXT_ENCODER_F.LOAD_BEG_KEY)
    elif text_encoder is None:
        yield from _names(encoder.proxy, "backbone.")
    yield from _names(generator)
    yield "sem_seg_head.predictor.static_query.weight"  # the older name of query_feat


def _write(manifest: dict[str, Any], file: Path) -> None:
    """Write a checkpoint whose tensors share their memory, so that it is as large as the largest of them."""
    sizes: dict[str, int] = {}
    for _, shape, dtype in manifest["keys"]:
        sizes[dtype] = max(sizes.get(dtype, 0), math.prod(shape))
    shared = {dtype: torch.zeros(size, dtype=getattr(torch, dtype), device="cpu") for dtype, size in sizes.items()}
    weights = {name: shared[dtype][: math.prod(shape)].view(shape) for name, shape, dtype in manifest["keys"]}
    torch.save({"model": weights}, file)


def _config(published: Published, file: Path) -> CfgNode:
    """The config with ``file`` in the place of the generator's checkpoint, and no other weights."""
    cfg = load_config(f"configs/{published.config}", published.options)
    cfg.defrost()
    node = cfg.MODEL.MASKCLIPPP
    checkpoint = node.SEGMENTOR.PRETRAINED
    for part in (node.VISUAL_ENCODER_F, node.TEXT_ENCODER_F, node.SEGMENTOR):
        for key in {"PRETRAINED", "LOAD_FROM"} & set(part):
            part[key] = str(file) if part[key] == checkpoint else ""
    return cfg


def _names(module: nn.Module, prefix: str = "") -> Iterator[str]:
    return (prefix + name for name in module.state_dict())
