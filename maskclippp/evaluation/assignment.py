"""Masks against true segments: their overlap, and the best one-to-one assignment."""

from __future__ import annotations

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


def best_overlaps(masks: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    """Return for each region the largest IoU with any mask, (count,) float64 in [0, 1]; 0 without masks.

    Args:
        masks: (Q, H, W) bool.
        regions: (H, W) number of the region of each pixel, ``count`` for none; these pixels count in no union.
        count: number of regions.
    """
    regions = regions.ravel()
    area = np.bincount(regions, minlength=count + 1)[:count]
    best = np.zeros(count)
    for mask in masks:
        inter = np.bincount(regions[mask.ravel()], minlength=count + 1)[:count]
        union = area + inter.sum() - inter
        np.maximum(best, inter / np.maximum(union, 1), out=best)
    return best


def label_map_masks(labels: np.ndarray, classes: np.ndarray) -> Tensor:
    """(H, W) -> (G, H, W) bool, one mask per value of ``classes``."""
    return torch.from_numpy(labels[None] == np.asarray(classes, dtype=labels.dtype)[:, None, None])
