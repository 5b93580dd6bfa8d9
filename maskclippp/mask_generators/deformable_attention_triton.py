"""Deformable attention as two Triton kernels: one reads the samples and adds them up, one takes the gradients back.

Compiled when first used, on the machine that uses them. Imported only where triton is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS_AT_ONCE = 32
"""Rows (picture, query, head) of one program."""


def sample_with_triton(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Compute :func:`maskclippp.mask_generators.deformable_attention.deformable_attention` by a Triton kernel.

    Everything is read in the type it has and added up in float32; gradients of the values come by atomic additions, so
    that their last bits differ from run to run. A location that is not a number counts as outside.
    """
    levels = tuple((int(height), int(width)) for height, width in shapes)
    return _Sample.apply(value.contiguous(), levels, locations.float().contiguous(), weights.float().contiguous())


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        ctx.shapes = shapes
        batch, length, heads, dim = value.shape
        queries = locations.shape[1]
        out = value.new_empty((batch, queries, heads * dim))
        rows = batch * queries * heads
        if rows:
            with torch.cuda.device_of(value):  # Triton works on the current device
                _sample[_grid(rows)](
                    value, _level_table(shapes, value.device), locations, weights, out, rows, queries, length,
                    **_constants(value, locations),
                )  # fmt: skip
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        value, locations, weights = ctx.saved_tensors
        batch, length, heads, dim = value.shape
        queries = locations.shape[1]
        for_value = torch.zeros_like(value, dtype=torch.float32)
        for_locations, for_weights = torch.empty_like(locations), torch.empty_like(weights)
        rows = batch * queries * heads
        if rows:
            with torch.cuda.device_of(value):
                _take_back[_grid(rows)](
                    value, _level_table(ctx.shapes, value.device), locations, weights, gradient.contiguous(),
                    for_value, for_locations, for_weights, rows, queries, length,
                    **_constants(value, locations),
                )  # fmt: skip
        return for_value.to(value.dtype), None, for_locations, for_weights


def _grid(rows: int) -> tuple[int]:
    return (triton.cdiv(rows, ROWS_AT_ONCE),)


def _constants(value: Tensor, locations: Tensor) -> dict[str, int]:
    _, _, heads, dim = value.shape
    return {
        "HEADS": heads,
        "DIM": dim,
        "WIDTH": triton.next_power_of_2(dim),
        "LEVELS": locations.shape[3],
        "POINTS": locations.shape[4],
        "ROWS": ROWS_AT_ONCE,
    }


@lru_cache(maxsize=256)
def _level_table(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """(L, 3) int32: height, width, first position. Kept, as each copy to the device waits for it."""
    starts, start = [], 0
    for height, width in shapes:
        starts.append(start)
        start += height * width
    table = [[height, width, first] for (height, width), first in zip(shapes, starts, strict=True)]
    return torch.tensor(table, dtype=torch.int32, device=device)


@triton.jit
def _place(pointer, at, ok, size):
    """Locations along one axis -> the pixel before each, the part of the way to the next, whether it is near."""
    position = tl.load(pointer + at, mask=ok, other=0.0) * size - 0.5
    near = (position >= -1.0) & (position <= size)  # beyond, all four neighbours are outside
    position = tl.where(near, position, -1.0)
    before = tl.floor(position)
    return before.to(tl.int32), position - before, near


@triton.jit
def _address(y, x, height, width, start, first, ok, HEADS: tl.constexpr, DIM: tl.constexpr):
    """Pixels of a level -> where their channels begin, and whether they are inside."""
    inside = ok & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return (first + (start + y * width + x).to(tl.int64) * HEADS) * DIM, inside


@triton.jit
def _sample(
    value, levels, locations, weights, out, rows, queries, length,
    HEADS: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row_ok = row < rows
    first = row // (HEADS * queries) * length * HEADS + row % HEADS
    channel = tl.arange(0, WIDTH)[None, :]
    channel_ok = channel < DIM
    total = tl.zeros((ROWS, WIDTH), dtype=tl.float32)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        start = tl.load(levels + 3 * level + 2)
        for point in range(POINTS):
            at = (row * LEVELS + level) * POINTS + point
            left, right_part, near_x = _place(locations, 2 * at, row_ok, width)
            top, lower_part, near_y = _place(locations, 2 * at + 1, row_ok, height)
            weight = tl.load(weights + at, mask=row_ok, other=0.0)
            ok = row_ok & near_x & near_y
            for dy in tl.static_range(2):
                for dx in tl.static_range(2):
                    address, inside = _address(top + dy, left + dx, height, width, start, first, ok, HEADS, DIM)
                    share = (lower_part if dy else 1 - lower_part) * (right_part if dx else 1 - right_part)
                    pixel = tl.load(value + address[:, None] + channel, mask=inside[:, None] & channel_ok, other=0.0)
                    total += (weight * share)[:, None] * pixel.to(tl.float32)
    tl.store(out + row[:, None] * DIM + channel, total, mask=row_ok[:, None] & channel_ok)


@triton.jit
def _take_back(
    value, levels, locations, weights, gradient, for_value, for_locations, for_weights, rows, queries, length,
    HEADS: tl.constexpr, DIM: tl.constexpr, WIDTH: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    row_ok = row < rows
    first = row // (HEADS * queries) * length * HEADS + row % HEADS
    channel = tl.arange(0, WIDTH)[None, :]
    channel_ok = channel < DIM
    given = tl.load(gradient + row[:, None] * DIM + channel, mask=row_ok[:, None] & channel_ok, other=0.0)
    given = given.to(tl.float32)
    for level in range(LEVELS):
        height = tl.load(levels + 3 * level)
        width = tl.load(levels + 3 * level + 1)
        start = tl.load(levels + 3 * level + 2)
        for point in range(POINTS):
            at = (row * LEVELS + level) * POINTS + point
            left, right_part, near_x = _place(locations, 2 * at, row_ok, width)
            top, lower_part, near_y = _place(locations, 2 * at + 1, row_ok, height)
            weight = tl.load(weights + at, mask=row_ok, other=0.0)
            ok = row_ok & near_x & near_y
            for_weight = tl.zeros((ROWS,), dtype=tl.float32)
            for_x = tl.zeros((ROWS,), dtype=tl.float32)
            for_y = tl.zeros((ROWS,), dtype=tl.float32)
            for dy in tl.static_range(2):
                for dx in tl.static_range(2):
                    address, inside = _address(top + dy, left + dx, height, width, start, first, ok, HEADS, DIM)
                    mask = inside[:, None] & channel_ok
                    share_y = lower_part if dy else 1 - lower_part
                    share_x = right_part if dx else 1 - right_part
                    pixel = tl.load(value + address[:, None] + channel, mask=mask, other=0.0)
                    along = tl.sum(given * pixel.to(tl.float32), axis=1)
                    for_weight += share_y * share_x * along
                    for_x += share_y * along if dx else -share_y * along
                    for_y += share_x * along if dy else -share_x * along
                    part = (weight * share_y * share_x)[:, None] * given
                    tl.atomic_add(for_value + address[:, None] + channel, part, mask=mask, sem="relaxed")
            tl.store(for_weights + at, for_weight, mask=row_ok)
            tl.store(for_locations + 2 * at, weight * for_x * width, mask=row_ok)
            tl.store(for_locations + 2 * at + 1, weight * for_y * height, mask=row_ok)
