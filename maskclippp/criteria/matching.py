"""Which prediction answers for which ground-truth mask: costs at sampled points, and the Hungarian assignment.

Source: Cheng et al. 2022 ("Mask2Former"), section 3.3; Cheng et al. 2021 ("MaskFormer"), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .points import sample_maps, sample_masks

WORST = 1e6
"""Bound of a cost, and the cost of a pair whose cost is not a number."""


@dataclass(frozen=True)
class MaskTargets:
    """Ground truth of B pictures on one canvas.

    Attributes:
        labels: B tensors (G,) long.
        masks: B tensors (G, H, W) bool at the top left of the canvas; G may be 0, sizes may differ.
        canvas: (height, width) in pixels that the predictions cover.
        generators: B sources of the random points, one for each picture, so that these do not depend on the pictures
            around; None: torch's own.
    """

    labels: Sequence[Tensor]
    masks: Sequence[Tensor]
    canvas: tuple[int, int]
    generators: Sequence[torch.Generator] | None = None

    def __post_init__(self) -> None:
        for index, (labels, masks) in enumerate(zip(self.labels, self.masks, strict=True)):
            fits = masks.dim() == 3 and masks.dtype == torch.bool and len(masks) == len(labels)
            if not fits or masks.shape[1] > self.canvas[0] or masks.shape[2] > self.canvas[1]:
                raise ValueError(
                    f"picture {index}: labels {tuple(labels.shape)} and masks {tuple(masks.shape)} {masks.dtype} on a "
                    f"canvas of {self.canvas}; expected (G,) and (G, H, W) bool"
                )

    def draw(self, picture: int, *shape: int) -> Tensor:
        """Return random numbers in [0, 1) of a picture, float32, on the device of the masks."""
        generator = None if self.generators is None else self.generators[picture]
        return torch.rand(shape, generator=generator, device=self.masks[picture].device)

    @property
    def count(self) -> int:
        """Number of masks of all pictures."""
        return sum(map(len, self.labels))


@dataclass(frozen=True)
class CostWeights:
    """Weights of the classification, the mask (binary cross-entropy) and the dice term."""

    label: float
    mask: float
    dice: float


@torch.no_grad()
def matching_costs(
    class_logits: Tensor,
    mask_embeddings: Tensor,
    mask_features: Tensor,
    targets: MaskTargets,
    *,
    weights: CostWeights,
    num_points: int,
) -> Tensor:
    """Return the cost of every pair, (L, B, Q, G) with G of the picture that has most masks, all finite.

    The masks are compared at points, drawn evenly for each prediction and picture, that all its pairs share. Logits at
    points are products of embeddings with sampled features, for sampling is linear; nothing is computed elsewhere.

    Args:
        class_logits: (L, B, Q, K + 1) of L predictions.
        mask_embeddings: (L, B, Q, C).
        mask_features: (B, C, h, w).
        targets: G masks of each picture.
        weights: of the terms.
        num_points: P.
    """
    rows = [torch.arange(len(labels), device=mask_features.device) for labels in targets.labels]
    labels = pad_sequence(list(targets.labels), batch_first=True)  # (B, G)
    costs = []
    for logits, embeddings in zip(class_logits, mask_embeddings, strict=True):
        points = torch.stack([targets.draw(picture, num_points, 2) for picture in range(len(rows))]).to(mask_features)
        sampled = [
            sample_masks(masks, index, picture_points[None], targets.canvas)
            for masks, index, picture_points in zip(targets.masks, rows, points, strict=True)
        ]
        wanted = pad_sequence(sampled, batch_first=True)  # (B, G, P)
        found = embeddings @ sample_maps(mask_features, points)  # (B, Q, P)
        mask_cost, dice_cost = pairwise_mask_costs(found, wanted)
        probabilities = logits.to(found.dtype).softmax(dim=-1)
        label_cost = -probabilities.gather(2, labels[:, None].expand(-1, logits.shape[1], -1))
        costs.append(weights.label * label_cost + weights.mask * mask_cost + weights.dice * dice_cost)
    return torch.stack(costs).nan_to_num(nan=WORST, posinf=WORST, neginf=-WORST).clamp(-WORST, WORST)


def pairwise_mask_costs(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return binary cross-entropy (mean over points) and dice cost of every pair, both (..., Q, G).

    With t in [0, 1], t softplus(-x) + (1 - t) softplus(x) = softplus(x) - t x, so that one product does for all pairs.

    Args:
        logits: (..., Q, P).
        targets: (..., G, P) in [0, 1].
    """
    wanted = targets.transpose(-1, -2)
    cross_entropy = F.softplus(logits).mean(dim=-1, keepdim=True) - logits @ wanted / logits.shape[-1]
    inside = logits.sigmoid()
    overlap = 2 * inside @ wanted
    areas = inside.sum(dim=-1, keepdim=True) + targets.sum(dim=-1)[..., None, :]
    return cross_entropy, 1 - (overlap + 1) / (areas + 1)


def assign(costs: Tensor, counts: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Find the cheapest one-to-one assignments.

    Args:
        costs: (L, B, Q, G), finite.
        counts: number of masks of each picture, at most G.

    Returns:
        For each picture, queries and targets, both (L, min(Q, count)) long on the device of the costs.
    """
    table = costs.cpu().numpy()  # the one transfer of a step
    pairs = []
    for picture, count in enumerate(counts):
        solved = np.array([linear_sum_assignment(prediction[picture, :, :count]) for prediction in table])
        queries, chosen = torch.from_numpy(solved).to(costs.device).unbind(1)
        pairs.append((queries, chosen))
    return pairs
