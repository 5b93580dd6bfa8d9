"""Instance segmentation from classified masks."""

from __future__ import annotations

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor


def instance_inference(
    logits: Tensor,
    masks: Tensor,
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
        Instances with pred_masks (float, H x W at 0.5), pred_boxes, scores (class probability times mean mask value
        inside) and pred_classes, in order of decreasing class probability.
    """
    probs = logits.softmax(dim=-1)[:, :num_classes]
    scores, pairs = probs.flatten().topk(min(top_k, probs.numel()))
    mask_index, labels = pairs.div(num_classes, rounding_mode="floor"), pairs % num_classes
    if thing_ids is not None:
        kept = torch.isin(labels, thing_ids)
        scores, labels, mask_index = scores[kept], labels[kept], mask_index[kept]
    solid = masks > 0.5
    quality = (masks * solid).flatten(1).sum(dim=1) / (solid.flatten(1).sum(dim=1) + 1e-6)
    result = Instances(tuple(masks.shape[-2:]))
    result.pred_masks = solid[mask_index].float()
    if with_boxes:
        result.pred_boxes = BitMasks(solid[mask_index]).get_bounding_boxes()
    else:
        result.pred_boxes = Boxes(masks.new_zeros((len(mask_index), 4)))
    result.scores = scores * quality[mask_index]
    result.pred_classes = labels
    return result
