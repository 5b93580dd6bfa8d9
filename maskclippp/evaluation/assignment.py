"""Masks against true segments: their overlap, and the best one-to-one assignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

_SCALE = 0.25
_EPSILON = 1e-6


def best_assignment(masks: Tensor, truth: Tensor) -> list[tuple[int, int]]:
    """Return (mask, true mask) pairs with the largest total IoU; what is left over on either side stays alone.

    IoU is taken on masks at a quarter of the size (nearest), and there is no floor: a pair may have IoU 0.

    Args:
        masks: (Q, H, W) bool.
        truth: (G, H, W) bool, same size and device.

    Returns:
        Pairs in ascending order of the mask.
    """
    if not len(masks) or not len(truth):
        return []
    rows, columns = (_shrunk(each) for each in (masks, truth))
    inter = rows @ columns.T
    union = rows.sum(dim=1)[:, None] + columns.sum(dim=1) - inter
    iou = (inter / (union + _EPSILON)).cpu().numpy()
    chosen = linear_sum_assignment(iou, maximize=True)
    return list(zip(*(index.tolist() for index in chosen), strict=True))


def _shrunk(masks: Tensor) -> Tensor:
    """(N, H, W) bool -> (N, h*w) float."""
    size = [max(1, int(side * _SCALE)) for side in masks.shape[-2:]]
    return F.interpolate(masks[None].float(), size=size, mode="nearest")[0].flatten(1)


def intersections(masks: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """Return how many pixels masks and regions share, (Q, count + 1) int64; the last column is of pixels of no region.

    Args:
        masks: (Q, H, W) bool.
        regions: (H, W) number of the region of each pixel, ``count`` for none.
        count: number of regions.
    """
    regions = regions.ravel()
    shared = np.zeros((len(masks), count + 1), dtype=np.int64)
    for row, mask in zip(shared, masks, strict=True):
        row[:] = np.bincount(regions[mask.ravel()], minlength=count + 1)
    return shared


def best_overlaps(shared: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return for each region the largest IoU with any mask, (G,) float64 in [0, 1]; 0 without masks.

    Pixels of no region count in no union.

    Args:
        shared: (Q, G) pixels in common, of :func:`intersections`.
        area: (G,) of the regions.
    """
    return iou_of_shared(shared, area, shared.sum(axis=1)).max(axis=0, initial=0.0)


def iou_of_shared(shared: np.ndarray, area: np.ndarray, mask_area: np.ndarray) -> np.ndarray:
    """Return IoU (Q, G) from pixels in common (Q, G), areas of the regions (G,) and of the masks (Q,); 0 of nothing."""
    return shared / np.maximum(area + mask_area[:, None] - shared, 1)


def matched_in_turn(iou: np.ndarray, thresholds: np.ndarray, limits: Sequence[int]) -> np.ndarray:
    """Count regions that get a mask, where each mask in turn takes the region that is left with the largest IoU.

    So do the detections of an image in COCO's evaluation; of equal regions the last one is taken there.

    Args:
        iou: (Q, G) of masks, in falling order of their score, and regions.
        thresholds: (T,), the least IoU of a pair.
        limits: L numbers of masks, rising; how many take part.

    Returns:
        (L, T) int64 matched regions among the first masks.
    """
    free = np.ones((len(thresholds), iou.shape[1]), dtype=bool)
    enough = iou[:, None, :] >= np.minimum(thresholds, 1 - 1e-10)[:, None]  # (Q, T, G)
    matched = np.zeros((len(limits), len(thresholds)), dtype=np.int64)
    if not iou.shape[1]:
        return matched
    rows = np.arange(len(thresholds))
    for turn in range(min(len(iou), limits[-1])):
        value = np.where(free & enough[turn], iou[turn], -1.0)
        chosen = iou.shape[1] - 1 - value[:, ::-1].argmax(axis=1)
        taken = value[rows, chosen] >= 0
        free[rows[taken], chosen[taken]] = False
        matched[[turn < limit for limit in limits]] += taken
    return matched


def label_map_masks(labels: np.ndarray, classes: np.ndarray) -> Tensor:
    """(H, W) -> (G, H, W) bool, one mask per value of ``classes``."""
    return torch.from_numpy(labels[None] == np.asarray(classes, dtype=labels.dtype)[:, None, None])
