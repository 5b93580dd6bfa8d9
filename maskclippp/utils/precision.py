"""The precision that sums and losses are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """Return values as float32, whatever they are; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()
