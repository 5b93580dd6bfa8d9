"""Kinds of the whole system with a mask generator: from a picture to the results of all tasks."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.inference import TaskInference
from maskclippp.mask_generators import build_mask_generator
from maskclippp.methods import Labeller
from maskclippp.text_encoders import build_text_encoder
from maskclippp.visual_encoders import build_visual_encoder

from ..tiny_clip import register_model
from .batches import cut_to_sizes, per_picture, pictures, stored_result
from .case import Case, Results, golden_kind
from .models import build_model, prepare
from .nodes import change
from .tasks import sorted_instances
from .trunks import with_known_trunk

GENERATOR = "segmentor."
# Where two masks claim a pixel with scores this close, rounding decides: in infer_full_m2f one pixel has a margin of
# 1.1e-7 in float64, and the stored label is that of the lower score.
TIE = 1e-6


@golden_kind("infer_full_")
@torch.no_grad()
def infer_full(case: Case) -> Results:
    """Masks and logits of the generator; semantic, panoptic and instance results."""
    label = _build(case)
    model, prepared = label.method, label.prepared
    segments = []
    found: dict[str, list[Tensor]] = defaultdict(list)
    images = cut_to_sizes(case, pictures(case, "image", 3))
    for index, (image, size) in enumerate(zip(images, pictures(case, "output_size", 1), strict=True)):
        height, width = size.tolist()
        record = {"image": image, "height": height, "width": width}
        proposals = model.propose([record], prepared)
        found["segmentor_logits"].append(proposals.logits[0])
        found["pred_masks"].append(proposals.masks[0].dense())
        (result,) = label([record])
        found["sem_seg"].append(result["sem_seg"])
        panoptic, parts = result["panoptic_seg"]
        stored = stored_result(case, "panoptic_seg", index, panoptic)
        found["panoptic_seg"].append(torch.where(_ties(label, record), stored, panoptic))
        segments.append(parts)
        for name, value in sorted_instances("inst", result["instances"]):
            found[name].append(value)
    for name, values in found.items():
        yield from per_picture(case, name, values)
    yield "json.segments_info", segments
    yield "test_t_embs", prepared.bank.embeddings
    if prepared.generator_bank is not None:
        yield "test_t_embs_f", prepared.generator_bank.embeddings[:, 0]


def _ties(label: Labeller, record: dict[str, Any]) -> Tensor:
    """Return where the two masks with the highest panoptic scores are equal but for rounding: (H0, W0) bool."""
    (found,) = label.method.infer([record], label.prepared)
    scores, labels = found.logits.softmax(dim=-1).max(dim=-1)
    scores = scores * (labels < len(label.prepared))
    claims = scores[:, None, None] * found.masks.resize((record["height"], record["width"])).dense()
    best, second = claims.topk(2, dim=0).values
    return best - second < TIE


def _build(case: Case) -> Labeller:
    """Build the model; the generator and its encoders read their weights from a file as published ones."""
    weights, tuned = case.split(GENERATOR)
    sizes = case.meta["cfg"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "generator.pth")
        torch.save({"model": weights}, file)
        cfg = _config(case, str(file))
        node = cfg.MODEL.MASKCLIPPP
        encoder = build_visual_encoder(node.VISUAL_ENCODER_F, cfg)
        parts = {
            "visual_encoder_f": encoder,
            "text_encoder_f": build_text_encoder(node.TEXT_ENCODER_F),
            "generator": build_mask_generator(cfg, encoder.output_shape()),
            "templates_f": case.meta["templates_f"],
        }
    if sizes["ENSEMBLE_ON"]:
        parts["ensemble"] = (sizes["GEOMETRIC_ENSEMBLE_ALPHA"], sizes["GEOMETRIC_ENSEMBLE_BETA"])
    tasks = TaskInference(
        panoptic=True,
        instance=True,
        object_threshold=sizes["OBJECT_MASK_THRESHOLD"],
        overlap_threshold=sizes["OVERLAP_THRESHOLD"],
        top_k=sizes["TEST_TOPK"],
        with_boxes=True,
    )
    model = build_model(tuned, **parts)
    return Labeller(model, prepare(model, tuned), tasks)


def _config(case: Case, file: str) -> CfgNode:
    """The config of the generator and its encoders, which read ``file``."""
    sizes, cfg = case.meta["cfg"], default_config()
    cfg.merge_from_list([item for key, value in sizes["HEAD"].items() for item in (f"MODEL.{key}", value)])
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = sizes["NUM_OBJECT_QUERIES"]
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(case.meta["train_classes"])
    change(cfg.MODEL.SWIN, case.meta.get("swin", {}))
    node = cfg.MODEL.MASKCLIPPP
    change(node.VISUAL_ENCODER_F, sizes["VISUAL_ENCODER_F"])
    names = list(node.VISUAL_ENCODER_F.OUT_FEATURES)
    node.SEGMENTOR.IN_FEATURES, node.SEGMENTOR.TRANSFORMER_IN_FEATURES = names, names[1:]
    node.SEGMENTOR.PRETRAINED = file
    if case.meta["model_config_f"] is None:
        node.SEGMENTOR.NAME = "Mask2FormerSegmentor"
        node.VISUAL_ENCODER_F.PRETRAINED = file
        return cfg
    clip = register_model(with_known_trunk(case.meta["model_config_f"], case.parameters()))
    node.TEXT_ENCODER_F.NAME = "CLIPTextEncoder"
    for part, beginning in ((node.VISUAL_ENCODER_F, "visual."), (node.TEXT_ENCODER_F, "")):
        part.MODEL_NAME = clip
        part.LOAD_FROM, part.LOAD_BEG_KEY = file, f"backbone.clip_model.{beginning}"
    return cfg
