"""Deformable attention against its textbook form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.mask_generators.deformable_attention import deformable_attention

from .settings import Run, Settings

SHAPES = [(25, 34), (50, 68), (100, 136)]
"""Strides 32, 16 and 8 of a picture of 800 x 1088 pixels."""
TINY_SHAPES = [(3, 5), (6, 9), (12, 18)]
HEADS, DIM, POINTS = 8, 32, 4


def per_level_grid_sample(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The textbook form of :func:`deformable_attention`: sample every level, stack all samples, weigh, add up."""
    batch, _, heads, dim = value.shape
    queries = locations.shape[1]
    levels = value.split([height * width for height, width in shapes], dim=1)
    samples = []
    for level, (height, width) in enumerate(shapes):
        maps = levels[level].permute(0, 2, 3, 1).reshape(batch * heads, dim, height, width)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, N, points, 2)
        samples.append(F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    total = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)  # (B * heads, dim, N)
    return total.view(batch, heads * dim, queries).transpose(1, 2).contiguous()


def deform_attn(variant: str, settings: Settings) -> Run:
    """One attention of the pixel decoder at 800 x 1088, without gradients; every position of the pyramid is a query."""
    shapes = TINY_SHAPES if settings.size == "tiny" else SHAPES
    value, locations, weights = (x.to(settings.device) for x in _inputs(settings.batch, shapes))
    attention = deformable_attention if variant == "ours" else per_level_grid_sample

    def run() -> dict[str, Tensor]:
        with torch.no_grad():
            return {"sampled": attention(value, shapes, locations, weights)}

    return run


def _inputs(batch: int, shapes: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Noise; the points lie around each query's own place, some cells away."""
    generator = torch.Generator().manual_seed(1)
    places = [
        torch.stack([(j + 0.5) / width, (i + 0.5) / height], dim=-1).flatten(0, 1)
        for height, width in shapes
        for i, j in [torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")]
    ]
    queries = torch.cat(places)[None, :, None, None, None]  # (1, N, 1, 1, 1, 2)
    count = queries.shape[1]
    offsets = 2 * torch.randn(batch, count, HEADS, len(shapes), POINTS, 2, generator=generator)
    sizes = torch.tensor([[width, height] for height, width in shapes])[:, None]
    weights = torch.randn(batch, count, HEADS, len(shapes) * POINTS, generator=generator).softmax(-1)
    value = torch.randn(batch, count, HEADS, DIM, generator=generator)
    return value, queries + offsets / sizes, weights.view(offsets.shape[:-1])
