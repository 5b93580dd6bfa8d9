"""Panoptic segmentation from classified masks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from maskclippp.structures import ResampledMasks

SOLID = 0.5
"""A mask is solid where it is at least this."""


def panoptic_inference(
    logits: Tensor,
    masks: Tensor | ResampledMasks,
    *,
    num_classes: int,
    thing_ids: Collection[int],
    object_threshold: float,
    overlap_threshold: float,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Give every pixel to the mask with the largest score times mask value (MaskFormer, Cheng et al. 2021, sec. 3.4).

    Args:
        logits: (Q, K) or (Q, K + 1), the last column void.
        masks: (Q, H, W) in [0, 1].
        num_classes: K.
        thing_ids: classes whose segments stay apart; segments of one stuff class are merged.
        object_threshold: a mask takes part if its class is not void and its score is larger.
        overlap_threshold: a segment stands if it keeps at least this part of its mask (>= 0.5).

    Returns:
        (H, W) int32 segment ids from 1 (0: none), and their {"id", "isthing", "category_id"}.
    """
    masks = ResampledMasks.of(masks)
    scores, labels = logits.softmax(dim=-1).max(dim=-1)
    kept = (labels < num_classes) & (scores > object_threshold)
    scores, labels, masks = scores[kept].float(), labels[kept], masks[kept]
    segmentation = torch.zeros(masks.size, dtype=torch.int32, device=masks.device)
    count = len(masks)
    if not count:
        return segmentation, []
    # Pixels that each mask wins; those of them where it is solid; those where it is solid at all.
    won, overlap, area = masks.values.new_zeros((3, count), dtype=torch.long)
    for tile in masks.tiles():
        values = tile.dense()
        owner = (scores[:, None, None] * values).argmax(dim=0)  # (height, width)
        solid = values >= SOLID
        visible = solid.gather(0, owner[None])[0]
        won += torch.bincount(owner.flatten(), minlength=count)
        overlap += torch.bincount(owner[visible], minlength=count)
        area += solid.flatten(1).sum(dim=1)
        # Owners count from 1 until the accepted segments are numbered.
        segmentation[tile.rows, tile.columns] = torch.where(visible, owner + 1, 0).int()
    # The published rule compares pixels won, not pixels kept, with the area of the mask.
    stands = (overlap > 0) & (won / area.clamp(min=1) >= overlap_threshold)
    segment_of_mask, segments = number_segments(stands.tolist(), labels.tolist(), set(thing_ids))
    lookup = torch.tensor([0, *segment_of_mask], dtype=torch.int32, device=masks.device)
    return lookup[segmentation.long()], segments


def number_segments(
    stands: list[bool], labels: list[int], thing_ids: set[int]
) -> tuple[list[int], list[dict[str, Any]]]:
    """Number the segments that stand from 1, those of one stuff class together.

    Args:
        stands: which of Q masks become segments.
        labels: their Q classes.
        thing_ids: classes whose segments stay apart.

    Returns:
        The segment of each mask, 0 for none, and the segments' {"id", "isthing", "category_id"}.
    """
    segment_of_mask, segments, stuff = [], [], {}
    for accepted, label in zip(stands, labels, strict=True):
        is_thing = label in thing_ids
        if not accepted:
            segment_of_mask.append(0)
        elif not is_thing and label in stuff:
            segment_of_mask.append(stuff[label])
        else:
            segments.append({"id": len(segments) + 1, "isthing": is_thing, "category_id": label})
            segment_of_mask.append(len(segments))
            if not is_thing:
                stuff[label] = len(segments)
    return segment_of_mask, segments
