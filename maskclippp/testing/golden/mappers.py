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

from ...data.mappers import SemanticMapper
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
    with tempfile.TemporaryDirectory() as folder:
        image, labels = Path(folder, "image.png"), Path(folder, "labels.png")
        Image.fromarray(case.input("image").permute(1, 2, 0).contiguous().numpy()).save(image)
        sem_seg = case.input("sem_seg").numpy()
        Image.fromarray(sem_seg.astype(np.uint8 if sem_seg.max() < 256 else np.uint16)).save(labels)
        sample = mapper({"file_name": str(image), "sem_seg_file_name": str(labels)})
    instances = sample["instances"]
    yield "image", sample["image"]
    yield "sem_seg", sample["sem_seg"]
    yield "gt_classes", instances.gt_classes
    yield "gt_masks", instances.gt_masks.to(torch.uint8)


def _augmentations(cfg: Mapping[str, Any]) -> list[T.Augmentation]:
    augmentations: list[T.Augmentation] = []
    if cfg.get("short_edge"):
        augmentations.append(T.ResizeShortestEdge([cfg["short_edge"]], cfg.get("max_size") or NO_LIMIT, "choice"))
    if cfg.get("flip"):
        augmentations.append(T.RandomFlip(prob=1.0))
    return augmentations
