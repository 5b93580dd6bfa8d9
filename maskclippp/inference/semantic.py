"""Semantic segmentation from classified masks."""

from __future__ import annotations

import torch
from torch import Tensor


def semantic_scores(logits: Tensor, masks: Tensor, num_classes: int) -> Tensor:
    """Sum class probability times mask over the masks.

    Args:
        logits: (Q, K) or, with a last void column, (Q, K + 1).
        masks: (Q, H, W) in [0, 1].
        num_classes: K.

    Returns:
        (K, H, W) scores; void takes part in the softmax and is then left out.
    """
    probs = logits.softmax(dim=-1)[:, :num_classes]
    return torch.einsum("qk,qhw->khw", probs, masks.to(probs))
