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
from torch import Tensor

from maskclippp.data.mappers import PanopticJitterMapper, SemanticMapper
from maskclippp.data.mappers.training import TrainingMapper

from .batches import cut_to_sizes, per_picture, pictures
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
    samples = []
    for image, labels in zip(_images(case), cut_to_sizes(case, pictures(case, "sem_seg", 2)), strict=True):
        pixels = labels.numpy().astype(np.uint8 if labels.max() < 256 else np.uint16)
        samples.append(_sample(mapper, image, {"sem_seg_file_name": pixels}))
    yield from per_picture(case, "sem_seg", [sample["sem_seg"] for sample in samples])
    yield from _fields(case, samples)


@golden_kind("mapper_panoptic")
def mapper_panoptic(case: Case) -> Results:
    """PanopticJitterMapper with a fixed scale."""
    scale, side = case.meta["cfg"]["scale"], case.meta["cfg"]["target"]
    mapper = PanopticJitterMapper(
        augmentations=[T.ResizeScale(scale, scale, side, side), T.FixedSizeCrop((side, side))]
    )
    segments = case.meta["segments_info"]
    if not isinstance(next(iter(segments), None), list):  # those of the only picture
        segments = [segments]
    maps = cut_to_sizes(case, pictures(case, "panoptic_ids", 2))
    samples = []
    for image, found, infos in zip(_images(case), maps, segments, strict=True):
        ids = found.numpy()
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)  # (H, W, 3)
        samples.append(_sample(mapper, image, {"pan_seg_file_name": colours}, segments_info=infos))
    yield from _fields(case, samples)


def _images(case: Case) -> list[Tensor]:
    return cut_to_sizes(case, pictures(case, "image", 3))


def _sample(mapper: TrainingMapper, image: Tensor, files: Mapping[str, np.ndarray], **record: Any) -> dict[str, Any]:
    """Write the picture and the other files, named by the record's key, and map the record."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = {"file_name": image.permute(1, 2, 0).contiguous().numpy(), **files}
        for key, pixels in pictures.items():
            record[key] = str(Path(folder, f"{key}.png"))
            Image.fromarray(pixels).save(record[key])
        return mapper(record)


def _fields(case: Case, samples: list[dict[str, Any]]) -> Results:
    instances = [sample["instances"] for sample in samples]
    yield from per_picture(case, "image", [sample["image"] for sample in samples])
    yield from per_picture(case, "gt_classes", [each.gt_classes for each in instances])
    yield from per_picture(case, "gt_masks", [each.gt_masks.to(torch.uint8) for each in instances])
    if all(each.has("gt_boxes") for each in instances):
        yield from per_picture(case, "gt_boxes", [each.gt_boxes.tensor for each in instances])


def _augmentations(cfg: Mapping[str, Any]) -> list[T.Augmentation]:
    augmentations: list[T.Augmentation] = []
    if cfg.get("short_edge"):
        augmentations.append(T.ResizeShortestEdge([cfg["short_edge"]], cfg.get("max_size") or NO_LIMIT, "choice"))
    if cfg.get("flip"):
        augmentations.append(T.RandomFlip(prob=1.0))
    return augmentations
