"""From logits of names to logits of classes."""

from __future__ import annotations

import torch
from torch import Tensor


def max_over_synonyms(logits: Tensor, class_index: Tensor, num_classes: int) -> Tensor:
    """Return the largest logit among the names of each class.

    Args:
        logits: (N, Ka), or (N, Ka + 1) with a last void column, which is kept as it is.
        class_index: (Ka,) class of each name.
        num_classes: K.

    Returns:
        (N, K) or (N, K + 1).
    """
    names = len(class_index)
    index = class_index.expand(len(logits), -1)
    lowest = logits.new_full((len(logits), num_classes), float("-inf"))
    return torch.cat([lowest.scatter_reduce(1, index, logits[:, :names], "amax"), logits[:, names:]], dim=1)
