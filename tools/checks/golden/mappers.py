"""Kinds of the data room: training samples, read from files as in training."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import transforms as T
from PIL import Image

from maskclippp.data.mappers import PanopticJitterMapper, SemanticMapper
from maskclippp.data.mappers.training import TrainingMapper

from .case import Case, Results, golden_kind

NO_LIMIT = 1_000_000


@golden_kind("mapper_semantic")
def mapper_semantic(case: Case) -> Results:
    """SemanticMapper."""
    cfg = case.meta["cfg"]
    mapper = SemanticMapper(
        augmentations=_augmentations(cfg),
        ignore_label=cfg["ignore_label"],
        size_divisibility=cfg["SIZE_DIVISIBILITY"],
    )
    labels = case.input("sem_seg").numpy()
    labels = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
    sample = _sample(mapper, case, {"sem_seg_file_name": labels})
    yield "sem_seg", sample["sem_seg"]
    yield from _fields(sample)


@golden_kind("mapper_panoptic")
def mapper_panoptic(case: Case) -> Results:
    """PanopticJitterMapper with a fixed scale."""
    scale, side = case.meta["cfg"]["scale"], case.meta["cfg"]["target"]
    mapper = PanopticJitterMapper(
        augmentations=[T.ResizeScale(scale, scale, side, side), T.FixedSizeCrop((side, side))]
    )
    ids = case.input("panoptic_ids").numpy()
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)  # (H, W, 3)
    yield from _fields(_sample(mapper, case, {"pan_seg_file_name": colours}, segments_info=case.meta["segments_info"]))


def _sample(mapper: TrainingMapper, case: Case, files: Mapping[str, np.ndarray], **record: Any) -> dict[str, Any]:
    """Write the picture and the other files, named by the record's key, and map the record."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = {"file_name": case.input("image").permute(1, 2, 0).contiguous().numpy(), **files}
        for key, pixels in pictures.items():
            record[key] = str(Path(folder, f"{key}.png"))
            Image.fromarray(pixels).save(record[key])
        return mapper(record)


def _fields(sample: Mapping[str, Any]) -> Results:
    instances = sample["instances"]
    yield "image", sample["image"]
    yield "gt_classes", instances.gt_classes
    yield "gt_masks", instances.gt_masks.to(torch.uint8)
    if instances.has("gt_boxes"):
        yield "gt_boxes", instances.gt_boxes.tensor


def _augmentations(cfg: Mapping[str, Any]) -> list[T.Augmentation]:
    augmentations: list[T.Augmentation] = []
    if cfg.get("short_edge"):
        augmentations.append(T.ResizeShortestEdge([cfg["short_edge"]], cfg.get("max_size") or NO_LIMIT, "choice"))
    if cfg.get("flip"):
        augmentations.append(T.RandomFlip(prob=1.0))
    return augmentations
