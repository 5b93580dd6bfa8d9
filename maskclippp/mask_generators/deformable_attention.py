"""Multi-scale deformable attention: each query reads a few bilinear samples of each level of a feature pyramid.

Zhu et al. 2021, "Deformable DETR", equation 3, without the linear layers around it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = list[tuple[int, int]]


def deformable_attention(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of the samples; what lies outside a level counts as zero.

    A location (x, y) is at column x * width - 1/2 and row y * height - 1/2 of the level it samples. Sums are taken in
    float32, or in float64 if ``value`` is.

    Args:
        value: (B, S, heads, dim), the levels one after the other, each row by row.
        shapes: (height, width) of each level; their areas add up to S.
        locations: (B, N, heads, levels, points, 2) as (x, y); 0 and 1 are the borders of a level.
        weights: (B, N, heads, levels, points).

    Returns:
        (B, N, heads * dim), of the type of ``value``.

    Raises:
        ValueError: shapes that do not fit each other.
    """
    _check(value, shapes, locations, weights)
    return sample_with_torch(value, shapes, locations, weights)


def sample_with_torch(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Compute :func:`deformable_attention` with torch alone, level by level.

    A sample is four rows of a table with a weight each, and so is a sum of samples, which is what an embedding bag
    computes: no sample is ever stored.
    """
    batch, length, heads, dim = value.shape
    queries = locations.shape[1]
    exact = value.dtype if value.dtype == torch.float64 else torch.float32
    table = value.to(exact).reshape(batch * length * heads, dim)
    # Row of position 0 of each (picture, head): (B, 1, heads, 1)
    first = torch.arange(batch, device=value.device, dtype=torch.int32)[:, None] * (length * heads)
    first = (first + torch.arange(heads, device=value.device, dtype=torch.int32))[:, None, :, None]
    total = value.new_zeros((batch * queries * heads, dim), dtype=exact)
    start = 0
    for level, (height, width) in enumerate(shapes):
        x, y = locations[:, :, :, level].to(exact).unbind(-1)  # (B, N, heads, points)
        columns, column_weights = _neighbours(x, width)  # (B, N, heads, points, 2)
        rows, row_weights = _neighbours(y, height)
        index = (start + rows * width)[..., :, None] + columns[..., None, :]  # (B, N, heads, points, 2, 2)
        index = index * heads + first[..., None, None]
        row_weights = row_weights * weights[:, :, :, level, :, None].to(exact)
        corner_weights = row_weights[..., :, None] * column_weights[..., None, :]
        total = total + F.embedding_bag(
            index.flatten(0, 2).flatten(1),
            table,
            per_sample_weights=corner_weights.flatten(0, 2).flatten(1),
            mode="sum",
        )
        start += height * width
    return total.view(batch, queries, heads * dim).to(value.dtype)


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Positions in [0, 1] (...) -> the two neighbouring cells (..., 2), int32, and their weights, 0 if outside."""
    # Beyond one cell outside everything is zero; the bound keeps far positions inside the integers.
    position = (position * size - 0.5).clamp(-1, size)
    lower = position.detach().floor()
    after = position - lower
    cells = torch.stack([lower, lower + 1], dim=-1).to(torch.int32)
    inside = (cells >= 0) & (cells < size)
    return cells.clamp(0, size - 1), torch.stack([1 - after, after], dim=-1) * inside


def _check(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> None:
    area = sum(height * width for height, width in shapes)
    batch, length, heads, _ = value.shape
    if area != length:
        raise ValueError(f"the levels {list(shapes)} have {area} positions, but the values have {length}")
    expected = (batch, locations.shape[1], heads, len(shapes), locations.shape[-2])
    if tuple(locations.shape) != (*expected, 2) or tuple(weights.shape) != expected:
        raise ValueError(
            f"locations {tuple(locations.shape)} and weights {tuple(weights.shape)} do not fit "
            f"(B, N, heads, levels, points) = {expected}"
        )
