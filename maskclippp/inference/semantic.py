"""Semantic segmentation from classified masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from maskclippp.structures import MaskTile, ResampledMasks

CPU_TILE = 32
"""Side of the tiles on a CPU: the smaller, the fewer classes can win in one."""

# Bounds are left this much room, relative to them, so that rounding never drops a class that could win.
SLACK = 1e-4


def semantic_scores(logits: Tensor, masks: Tensor | ResampledMasks, num_classes: int) -> Tensor:
    """Sum class probability times mask over the masks.

    Mixing masks and resizing them commute, so the fewer of the two, Q masks or K sums, are resized.

    Args:
        logits: (Q, K) or, with a last void column, (Q, K + 1).
        masks: (Q, H, W) in [0, 1].
        num_classes: K.

    Returns:
        (K, H, W) scores; void takes part in the softmax and is then left out.
    """
    mixing = class_probabilities(logits, num_classes).T
    masks = ResampledMasks.of(masks)
    if num_classes < len(masks):
        return masks.mix(mixing).dense()
    dense = masks.dense()
    return (mixing @ dense.flatten(1)).unflatten(1, dense.shape[1:])


def class_probabilities(logits: Tensor, num_classes: int) -> Tensor:
    """(Q, K) or (Q, K + 1) logits -> (Q, K) float32 probabilities; void, if there, takes its part and is left out."""
    return logits.float().softmax(dim=-1)[:, :num_classes]


def semantic_labels(views: Sequence[tuple[Tensor | None, ResampledMasks]]) -> Tensor:
    """Return the arg-max of :func:`semantic_scores`, added up over views, without holding a map of any class.

    The picture is cut into tiles. In each, the sum for a class cannot exceed its sum with the greatest values of all
    masks, so most classes are out before anything is resized; the others are mixed and resized tile by tile.

    Args:
        views: of one picture (several in test-time augmentation): class probabilities (Q, K) and masks, (Q, H, W) in
            [0, 1], all on one grid; or None and scores of any value for each class, (K, H, W), without padding.

    Returns:
        (H, W) long; where classes tie, such as in a picture without masks, the first.
    """
    views = [(probs, masks if probs is not None else _without_negatives(masks)) for probs, masks in views]
    first = views[0][1]
    labels = torch.empty(first.size, dtype=torch.long, device=first.device)
    side = CPU_TILE if first.device.type == "cpu" else None
    with torch.autocast(first.device.type, enabled=False):  # the bounds must be as exact as the sums
        for tiles in zip(*(masks.tiles(side) for _, masks in views), strict=True):
            parts = [(_float(probs), tile) for (probs, _), tile in zip(views, tiles, strict=True)]
            labels[tiles[0].rows, tiles[0].columns] = _tile_labels(parts)
    return labels


def _float(probs: Tensor | None) -> Tensor | None:
    return None if probs is None else probs.float()


def _without_negatives(scores: ResampledMasks) -> ResampledMasks:
    """Raise all scores by the same, which changes no arg-max, until none is negative."""
    return replace(scores, values=scores.values - scores.values.amin())


def _tile_labels(parts: Sequence[tuple[Tensor | None, MaskTile]]) -> Tensor | int:
    bounds = [_bounds(probs, tile) for probs, tile in parts]
    least, greatest = (sum(side) for side in zip(*bounds, strict=True))  # (K,)
    # Written so that nothing is ruled out where a score is not a number.
    classes = (~(greatest * (1 + SLACK) < least.max())).nonzero().flatten()
    if len(classes) == 1:
        return int(classes)
    scores = sum(_scores(probs, tile, classes) for probs, tile in parts)  # (candidates, height, width)
    return classes[scores.argmax(dim=0)]


def _bounds(probs: Tensor | None, tile: MaskTile) -> tuple[Tensor, Tensor]:
    """Least and greatest score that each class can have in a tile, (K,) twice."""
    low, high = tile.bounds()
    return (low, high) if probs is None else (low @ probs, high @ probs)


def _scores(probs: Tensor | None, tile: MaskTile, classes: Tensor) -> Tensor:
    """Scores of some classes in a tile, (C, height, width)."""
    return replace(tile, values=tile.values[classes]).dense() if probs is None else tile.dense(probs[:, classes].T)
