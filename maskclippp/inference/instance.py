"""Instance segmentation from classified masks."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor

from maskclippp.structures import ResampledMasks


def instance_inference(
    logits: Tensor,
    masks: Tensor | ResampledMasks,
    *,
    num_classes: int,
    top_k: int,
    thing_ids: Tensor | None = None,
    with_boxes: bool = False,
) -> Instances:
    """Turn the best (mask, class) pairs into instances (Cheng et al. 2022, Mask2Former, section 3).

    Args:
        logits: (Q, K) or (Q, K + 1), the last column void, which takes part in the softmax only.
        masks: (Q, H, W) in [0, 1].
        num_classes: K.
        top_k: number of pairs that are looked at.
        thing_ids: (things,) long; other classes are dropped after the choice of the best pairs. None: all are things.
        with_boxes: compute boxes from the masks; else they are zero.

    Returns:
        Instances with pred_masks (bool, H x W at 0.5), pred_boxes, scores (class probability times mean mask value
        inside) and pred_classes, in order of decreasing class probability.
    """
    masks = ResampledMasks.of(masks)
    scores, labels, mask_index = best_pairs(logits, num_classes, top_k, thing_ids)
    used, position = mask_index.unique(return_inverse=True)
    solid, quality = binary_masks(masks[used])
    return make_instances(solid[position], scores * quality[position], labels, with_boxes)


def best_pairs(
    logits: Tensor, num_classes: int, top_k: int, thing_ids: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return class probability, class and mask index of the ``top_k`` best pairs; of :func:`instance_inference`."""
    probs = logits.softmax(dim=-1)[:, :num_classes]
    scores, pairs = probs.flatten().topk(min(top_k, probs.numel()))
    mask_index, labels = pairs.div(num_classes, rounding_mode="floor"), pairs % num_classes
    if thing_ids is not None:
        kept = torch.isin(labels, thing_ids)
        scores, labels, mask_index = scores[kept], labels[kept], mask_index[kept]
    return scores, labels, mask_index


def make_instances(masks: Tensor, scores: Tensor, labels: Tensor, with_boxes: bool) -> Instances:
    """Put N instances together: masks (N, H, W) bool, scores (N,), classes (N,); boxes of the masks, or zeros."""
    result = Instances(tuple(masks.shape[-2:]))
    result.pred_masks = masks
    if with_boxes:
        result.pred_boxes = BitMasks(masks).get_bounding_boxes()
    else:
        result.pred_boxes = Boxes(torch.zeros((len(masks), 4), device=masks.device))
    result.scores = scores
    result.pred_classes = labels
    return result


def binary_masks(masks: ResampledMasks) -> tuple[Tensor, Tensor]:
    """Return masks at 0.5, (Q, H, W) bool, and the mean value of each inside, (Q,); tile by tile."""
    solid = torch.empty(masks.shape, dtype=torch.bool, device=masks.device)
    total, area = torch.zeros((2, len(masks)), device=masks.device)
    for tile in masks.tiles():
        values = tile.dense()
        inside = values > 0.5
        solid[:, tile.rows, tile.columns] = inside
        total += (values * inside).flatten(1).sum(dim=1)
        area += inside.flatten(1).sum(dim=1)
    return solid, total / (area + 1e-6)
