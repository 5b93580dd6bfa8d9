"""Multi-scale deformable attention: each query reads a few bilinear samples of each level of a feature pyramid.

Zhu et al. 2021, "Deformable DETR", equation 3, without the linear layers around it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = Sequence[tuple[int, int]]
KERNEL_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def deformable_attention(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of the samples; what lies outside a level counts as zero.

    A location (x, y) is at column x * width - 1/2 and row y * height - 1/2 of the level it samples. Sums are taken in
    float32, or in float64 if ``value`` is. On a GPU it is a Triton kernel if :func:`kernel_fits`, else torch alone.

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
    if kernel_fits(value):
        from .deformable_attention_triton import sample_with_triton  # not installed everywhere

        return sample_with_triton(value, shapes, locations, weights)
    return sample_with_torch(value, shapes, locations, weights)


def kernel_fits(value: Tensor) -> bool:
    """Whether the Triton kernel is used: on a GPU, where Triton can work, in at most float32.

    The kernel adds gradients up in no fixed order: not where torch is asked for deterministic algorithms.
    """
    if not value.is_cuda or value.dtype not in KERNEL_TYPES or torch.are_deterministic_algorithms_enabled():
        return False
    return _triton_works()


@lru_cache(maxsize=1)
def _triton_works() -> bool:
    """Triton is installed, and so is the C compiler that it builds its launcher with."""
    return find_spec("triton") is not None and any([os.environ.get("CC"), shutil.which("gcc"), shutil.which("clang")])


def sample_with_torch(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Compute :func:`deformable_attention` with torch alone, level by level.

    A sample is four rows of a table with a weight each, and so is a sum of samples, which is what an embedding bag
    computes: no sample is ever stored. A frame of zeros around each level spares all tests for the outside.
    """
    batch, length, heads, dim = value.shape
    queries = locations.shape[1]
    exact = value.dtype if value.dtype == torch.float64 else torch.float32
    wanted = value.dtype
    value, locations, weights = value.to(exact), locations.to(exact), weights.to(exact)
    total = value.new_zeros((batch * queries * heads, dim))
    start = 0
    for level, (height, width) in enumerate(shapes):
        maps = value[:, start : start + height * width].reshape(batch, height, width, heads * dim)
        maps = F.pad(maps, (0, 0, 1, 1, 1, 1))
        column, right = _cell(locations[:, :, :, level, :, 0], width)  # (B, N, heads, points)
        row, below = _cell(locations[:, :, :, level, :, 1], height)
        # Rows of the table (B, height + 2, width + 2, heads) x dim
        line = (width + 2) * heads
        first = torch.arange(batch, device=value.device, dtype=torch.int32)[:, None] * ((height + 2) * line)
        first = first + torch.arange(heads, device=value.device, dtype=torch.int32)
        corner = row * line + column * heads + first[:, None, :, None]
        corners = torch.cat([corner, corner + heads, corner + line, corner + (line + heads)], dim=-1)
        weight = weights[:, :, :, level]
        lower = weight * below
        upper = weight - lower
        lower_right, upper_right = lower * right, upper * right
        shares = torch.cat([upper - upper_right, upper_right, lower - lower_right, lower_right], dim=-1)
        total += _WeightedRows.apply(maps.view(-1, dim), corners.flatten(0, 2), shares.flatten(0, 2))
        start += height * width
    return total.view(batch, queries, heads * dim).to(wanted)


def _cell(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Positions in [0, 1] -> the cell before each, int32, counted with the frame, and the part of the way to the next.

    Positions that far outside that only the frame is seen are moved onto it.
    """
    position = (position * size + 0.5).clamp(0, size + 1)
    cell = position.detach().to(torch.int32).clamp(0, size)  # once more, for positions that are not a number
    return cell, position - cell


class _WeightedRows(torch.autograd.Function):
    """(rows, dim) table, (bags, k) int32 row numbers and (bags, k) weights -> (bags, dim) weighted sums of rows.

    The gradient of the table is a sum of the same kind, with the places sorted by row; it takes a fraction of the time
    of the gradient that embedding_bag has.
    """

    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weights)
        return F.embedding_bag(index, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        table, index, weights = ctx.saved_tensors
        bags, count = index.shape
        gradient = gradient.contiguous()
        for_table = for_weights = None
        if ctx.needs_input_grad[0]:
            rows, places = index.flatten().sort()
            starts = torch.searchsorted(rows, torch.arange(len(table), device=rows.device, dtype=rows.dtype))
            for_table = F.embedding_bag(
                places // count, gradient, starts, per_sample_weights=weights.flatten()[places], mode="sum"
            )
        if ctx.needs_input_grad[2]:
            ends = torch.arange(0, bags * count, count, device=index.device, dtype=index.dtype)
            bag_of_place = torch.arange(bags, device=index.device, dtype=index.dtype).repeat_interleave(count)
            for_weights = torch.ops.aten._embedding_bag_per_sample_weights_backward(
                gradient, table, index.flatten(), ends, bag_of_place, 0
            ).view(bags, count)
        return for_table, None, for_weights


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
