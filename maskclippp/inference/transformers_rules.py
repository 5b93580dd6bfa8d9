"""Panoptic and instance results as the image processors of the package transformers make them.

They differ from the published rules in this: areas are counted where score times mask value is at least a half, a
segment keeps all pixels that it wins, instances are cut out on the grid of the model and enlarged without
interpolation, and those of a OneFormer do not overlap.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from detectron2.structures import Instances
from torch import Tensor

from maskclippp.structures import ResampledMasks

from .instance import best_pairs, binary_masks, make_instances
from .panoptic import SOLID, number_segments


def transformers_panoptic(
    logits: Tensor,
    masks: ResampledMasks,
    *,
    num_classes: int,
    thing_ids: Collection[int],
    object_threshold: float,
    overlap_threshold: float,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Give every pixel to the mask with the largest score times mask value; arguments and result as published ones.

    What post_process_panoptic_segmentation makes with the stuff classes as label_ids_to_fuse; but a new segment never
    gets the number of another one, which happens there after two stuff segments were joined.
    """
    scores, labels = logits.softmax(dim=-1).max(dim=-1)
    kept = (labels < num_classes) & (scores > object_threshold)
    if not kept.any():
        return torch.zeros(masks.size, dtype=torch.int32, device=masks.device), []
    labels = labels[kept]
    owner, stands = _share_out(masks[kept], scores[kept].float(), overlap_threshold)
    numbers, segments = number_segments(stands.tolist(), labels.tolist(), set(thing_ids))
    return torch.tensor(numbers, dtype=torch.int32, device=masks.device)[owner], segments


def transformers_instances(
    logits: Tensor,
    masks: ResampledMasks,
    *,
    num_classes: int,
    top_k: int,
    thing_ids: Tensor | None = None,
    with_boxes: bool = False,
) -> Instances:
    """Turn the best (mask, class) pairs into instances; arguments and result as published ones.

    What post_process_instance_segmentation of Mask2Former and MaskFormer makes with threshold 0: masks and their
    quality are of the grid of the model, empty ones are dropped.
    """
    scores, labels, mask_index = best_pairs(logits, num_classes, top_k, thing_ids)
    used, position = mask_index.unique(return_inverse=True)
    chosen = masks[used]
    sharp, quality = binary_masks(ResampledMasks.of(chosen.values))
    solid, _ = binary_masks(chosen.with_values(sharp).resized_by("nearest"))
    there = solid.flatten(1).any(dim=1)[position]
    solid, quality = solid[position[there]], quality[position[there]]
    return make_instances(solid, scores[there] * quality, labels[there], with_boxes)


def oneformer_instances(
    logits: Tensor,
    masks: ResampledMasks,
    *,
    num_classes: int,
    top_k: int,
    object_threshold: float,
    overlap_threshold: float,
    thing_ids: Tensor | None = None,
    with_boxes: bool = False,
) -> Instances:
    """Share the pixels out among the best (mask, class) pairs; arguments and result as published ones.

    What post_process_instance_segmentation of OneFormer makes: it works on mask logits, the score is the class
    probability, and instances do not overlap.

    Args:
        object_threshold: a pair takes part if its score is larger.
        overlap_threshold: an instance stands if it has more than this part of where score times logit is at least 0.5.
    """
    scores, labels, mask_index = best_pairs(logits, num_classes, top_k, thing_ids)
    kept = scores > object_threshold
    scores, labels, mask_index = scores[kept], labels[kept], mask_index[kept]
    if not len(scores):
        return make_instances(masks.values.new_zeros((0, *masks.size), dtype=torch.bool), scores, labels, with_boxes)
    owner, stands = _share_out(masks.with_values(masks.logits[mask_index]), scores.float(), overlap_threshold)
    numbers = stands.nonzero().flatten()
    return make_instances(owner == numbers[:, None, None], scores[stands], labels[stands], with_boxes)


def _share_out(masks: ResampledMasks, scores: Tensor, overlap_threshold: float) -> tuple[Tensor, Tensor]:
    """Return which of Q > 0 masks has each pixel, (H, W) long, and which keep enough of their area, (Q,) bool."""
    count = len(masks)
    owner = torch.empty(masks.size, dtype=torch.long, device=masks.device)
    won, area = scores.new_zeros((2, count), dtype=torch.long)
    for tile in masks.tiles():
        values = scores[:, None, None] * tile.dense()
        best = values.argmax(dim=0)
        owner[tile.rows, tile.columns] = best
        won += torch.bincount(best.flatten(), minlength=count)
        area += (values >= SOLID).flatten(1).sum(dim=1)
    kept = (won / area.clamp(min=1)).double()  # there a float32 is compared with a Python float
    return owner, (won > 0) & (area > 0) & (kept > overlap_threshold)
