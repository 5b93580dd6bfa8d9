"""The fixed sine encoding of the positions of a map."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

TEMPERATURE = 10000.0


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # it is kept, also for a training that follows
def sine_positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Return one vector per position of a map, row by row: (height * width, channels) float32.

    The first half of the channels tells the row, the second the column; each is a number in (0, 2 pi], whose sine and
    cosine, interleaved, are taken at falling frequencies (Carion et al. 2020, "DETR", section A.4).

    Args:
        channels: a multiple of 4.
    """
    rows = _along(height, channels // 2, device)[:, None].expand(-1, width, -1)
    columns = _along(width, channels // 2, device)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def _along(length: int, channels: int, device: torch.device) -> Tensor:
    """Encode the positions of one axis: (length, channels)."""
    position = torch.arange(1, length + 1, device=device, dtype=torch.float32) / (length + 1e-6) * (2 * math.pi)
    exponent = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
    angles = position[:, None] / TEMPERATURE**exponent
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
