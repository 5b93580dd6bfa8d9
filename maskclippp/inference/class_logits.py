"""From our logits and a generator's to the class logits of the tasks."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def geometric_ensemble(logits: Tensor, generator_logits: Tensor, seen: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Mix two classifiers: log(p_generator^(1-a) * p^a + 1e-8), a = alpha for seen and beta for unseen classes.

    Source: Yu et al. 2023 (FC-CLIP), section 3.3.

    Args:
        logits: (Q, K) of ours.
        generator_logits: (Q, K + 1) over the same classes; the last column, void, is left out.
        seen: (K,) bool.

    Returns:
        (Q, K) log-probabilities (not normalised).
    """
    ours = logits.softmax(dim=-1)
    theirs = generator_logits[:, :-1].softmax(dim=-1)
    weight = torch.where(seen, alpha, beta)
    return torch.log(theirs ** (1 - weight) * ours**weight + EPSILON)


def add_void(logits: Tensor, generator_logits: Tensor) -> Tensor:
    """Append the generator's void probability: (Q, K) and (Q, K' + 1) -> (Q, K + 1) log-probabilities."""
    void = generator_logits.softmax(dim=-1)[:, -1:]
    return torch.log(torch.cat([logits.softmax(dim=-1) * (1 - void), void], dim=-1) + EPSILON)


def mask_classes(logits: Tensor, num_classes: int, among: Tensor | None = None) -> Tensor:
    """Return the best class of each mask, void left out: (Q, K or K + 1) -> (Q,) long.

    Args:
        among: (K,) bool, the classes that compete; None: all.
    """
    scores = logits[:, :num_classes]
    return (scores if among is None else scores.masked_fill(~among, float("-inf"))).argmax(dim=-1)
