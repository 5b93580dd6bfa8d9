"""Kinds of the mask generators room: heads on stored features."""

from __future__ import annotations

import re
from collections import defaultdict

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.mask_generators import GeneratorInput, MaskGenerator, build_mask_generator
from maskclippp.mask_generators.published import generator_weights
from maskclippp.structures import TextBank
from maskclippp.utils.weights import without_weights

from .batches import per_picture, pictures
from .case import Case, Results, golden_kind

# Names of sizes in the cases, and the config keys that they are.
KEYS = {
    "NHEADS": "MODEL.MASK_FORMER.NHEADS",
    "Q": "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES",
    "HID": "MODEL.MASK_FORMER.HIDDEN_DIM",
    "FF": "MODEL.MASK_FORMER.DIM_FEEDFORWARD",
    "ENC": "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS",
    "MDIM": "MODEL.SEM_SEG_HEAD.MASK_DIM",
    "NCLS": "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
}
# In "in.res2_f", or for each picture in "in.res2_f.0".
FEATURE = re.compile(r"in\.(\w+_f)(?:\.\d+)?$")


@golden_kind("mask2former_head", "fcclip_head")
@torch.no_grad()
def mask_head(case: Case) -> Results:
    """Pixel decoder and mask decoder, through the generator that the case is of."""
    generator, names = _generator(case)
    features = {name: pictures(case, name, 3) for name in names}
    text = _text(case) if generator.needs_text else None
    texts = generator.class_texts(text)
    results: dict[str, list[Tensor]] = defaultdict(list)
    for maps in _batches(list(features.values())):
        mask_features, levels = generator.sem_seg_head.pixel_decoder(maps)
        (predictions,) = generator.sem_seg_head(maps, texts)
        results["mask_features"] += mask_features
        results["pred_mask_logits"] += predictions.mask_logits
        for index, level in enumerate(levels):
            results[f"multi_scale.{index}"] += level
    finest = features[names[0]]
    sizes = [tuple(generator.stride * side for side in each.shape[-2:]) for each in finest]
    inputs = GeneratorInput(records=[{} for _ in finest], sizes=sizes, features=features, text=text)
    found = generator(inputs)
    results["pred_masks"] = [masks.values for masks in found.masks]
    results["pred_logits"] = found.logits
    for name, values in results.items():
        yield from per_picture(case, name, values)


def _batches(levels: list[list[Tensor]]) -> list[list[Tensor]]:
    """Maps of the pictures, level by level -> batches: one if all pictures have one size, else one of each picture."""
    same = all(len({each.shape for each in level}) == 1 for level in levels)
    if same:
        return [[torch.stack(level) for level in levels]]
    return [[each[None] for each in picture] for picture in zip(*levels, strict=True)]


def _generator(case: Case) -> tuple[MaskGenerator, list[str]]:
    """Build the generator with the case's weights; also the names of its features, the finest first."""
    sizes = case.meta["cfg"]
    names = sorted({found[1] for found in map(FEATURE.match, case.tensors) if found})
    shapes = {
        name: ShapeSpec(channels=channels, stride=stride)
        for name, channels, stride in zip(
            names, case.meta["feature_channels"], case.meta["feature_strides"], strict=True
        )
    }
    cfg = default_config()
    cfg.merge_from_list([item for name, key in KEYS.items() if name in sizes for item in (key, sizes[name])])
    cfg.MODEL.MASK_FORMER.DEC_LAYERS = sizes["DEC"] + 1
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = sizes["HID"]
    cfg.MODEL.SEM_SEG_HEAD.NORM = "GN"
    node = cfg.MODEL.MASKCLIPPP
    node.SEGMENTOR.NAME = "FCCLIPSegmentor" if "CLIP_DIM" in sizes else "Mask2FormerSegmentor"
    node.SEGMENTOR.IN_FEATURES, node.SEGMENTOR.TRANSFORMER_IN_FEATURES = names, names[1:]
    if "CLIP_DIM" in sizes:
        node.TEXT_ENCODER_F.NAME = "CLIPTextEncoder"
        shapes["emb_f"] = ShapeSpec(channels=sizes["CLIP_DIM"])
    return build_generator(cfg, shapes, case), names


def build_generator(cfg: CfgNode, shapes: dict[str, ShapeSpec], case: Case, prefix: str = "") -> MaskGenerator:
    """Build the generator of a config on features of these shapes; its weights begin with ``prefix`` in the case."""
    with without_weights():
        generator = build_mask_generator(cfg, shapes)
    weights = {key.removeprefix(prefix): value for key, value in case.parameters().items() if key.startswith(prefix)}
    generator.load_state_dict(generator_weights(weights))
    return generator


def _text(case: Case) -> TextBank:
    counts = case.input("num_synonyms")
    index = torch.arange(len(counts)).repeat_interleave(counts)
    return TextBank(case.input("text_embeddings")[:, None], index, num_classes=len(counts))
