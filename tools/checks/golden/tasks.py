"""Kinds of the inference room."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from detectron2.structures import Instances
from torch import Tensor

from maskclippp.data.vocabularies import split_synonyms
from maskclippp.inference import (
    add_void,
    closed_to_test_logits,
    geometric_ensemble,
    instance_inference,
    mask_classes,
    panoptic_inference,
    semantic_scores,
    train_to_test_lookup,
)

from .batches import cut_to_counts, cut_to_sizes, per_picture, pictures
from .case import Case, Results, golden_kind


@golden_kind("inference_")
@torch.no_grad()
def inference(case: Case) -> Results:
    """Semantic, panoptic and instance results and the class of each mask, from class logits and masks of pictures."""
    segments = []
    found: dict[str, list[Tensor]] = defaultdict(list)
    masks = cut_to_sizes(case, cut_to_counts(case, pictures(case, "mask_pred", 3)))
    for logits, each in zip(cut_to_counts(case, pictures(case, "mask_cls", 2)), masks, strict=True):
        for name, value in _tasks(case.meta["cfg"], logits, each):
            if name == "json.segments_info":
                segments.append(value)
            else:
                found[name].append(value)
    stored = case.meta.get("segments_info", [])
    is_batch = len(segments) > 1 or isinstance(next(iter(stored), None), list)
    yield "json.segments_info", segments if is_batch else segments[0]
    for name, values in found.items():
        yield from per_picture(case, name, values)


def _tasks(cfg: dict[str, Any], logits: Tensor, masks: Tensor) -> Results:
    """The results of one picture."""
    classes = cfg["num_classes"]
    yield "sem_seg", semantic_scores(logits, masks, classes)
    yield "mask_cls_argmax", mask_classes(logits, classes)
    segmentation, segments = panoptic_inference(
        logits,
        masks,
        num_classes=classes,
        thing_ids=cfg["thing_ids"],
        object_threshold=cfg["object_mask_threshold"],
        overlap_threshold=cfg["overlap_threshold"],
    )
    yield "panoptic_seg", segmentation
    yield "json.segments_info", segments
    for prefix, things in (("inst", torch.tensor(cfg["thing_ids"])), ("inst_only", None)):
        instances = instance_inference(
            logits, masks, num_classes=classes, top_k=cfg["test_topk"], thing_ids=things, with_boxes=True
        )
        yield from sorted_instances(prefix, instances)


def sorted_instances(prefix: str, instances: Instances) -> Results:
    """Stored results are in order of decreasing score."""
    order = instances.scores.argsort(descending=True, stable=True)
    yield f"{prefix}_scores", instances.scores[order]
    yield f"{prefix}_classes", instances.pred_classes[order]
    yield f"{prefix}_masks", instances.pred_masks[order].to(torch.uint8)
    yield f"{prefix}_boxes", instances.pred_boxes.tensor[order]


@golden_kind("ensemble_void_open", tolerance=5e-6)
@torch.no_grad()
def ensemble_void_open(case: Case) -> Results:
    """Our logits with those of a generator over the same classes: ensembled, with void, both."""
    yield from _ensembles(case, _generator_logits(case))


@golden_kind("ensemble_void_closed", tolerance=5e-6)
@torch.no_grad()
def ensemble_void_closed(case: Case) -> Results:
    """Our logits with those of a generator over the train classes."""
    train, test = ([split_synonyms(entry) for entry in case.meta[f"{part}_classes"]] for part in ("train", "test"))
    lookup = train_to_test_lookup(train, test)
    yield "train2test_lut", lookup
    yield from _ensembles(
        case, [closed_to_test_logits(logits, lookup, len(test)) for logits in _generator_logits(case)]
    )


def _generator_logits(case: Case) -> list[Tensor]:
    return cut_to_counts(case, pictures(case, "segmentor_logits", 2))


def _ensembles(case: Case, over_test_classes: list[Tensor]) -> Results:
    seen = case.input("category_overlapping_mask").bool()
    ours, theirs = cut_to_counts(case, pictures(case, "logits", 2)), _generator_logits(case)
    found = {"with_void": [add_void(*pair) for pair in zip(ours, theirs, strict=True)]}
    for number, (alpha, beta) in enumerate(case.meta["alpha_beta"]):
        mixed = [
            geometric_ensemble(logits, moved, seen, alpha=alpha, beta=beta)
            for logits, moved in zip(ours, over_test_classes, strict=True)
        ]
        found[f"ensembled.{number}"] = mixed
        found[f"ensembled_with_void.{number}"] = [add_void(*pair) for pair in zip(mixed, theirs, strict=True)]
    for name, values in found.items():
        yield from per_picture(case, name, values)
