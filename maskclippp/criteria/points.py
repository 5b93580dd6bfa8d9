"""Values of maps at points, by bilinear interpolation, and the choice of points for the mask losses.

Points are (x, y) in [0, 1] of the canvas that the maps cover; outside a map everything is zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Draw = Callable[..., Tensor]


def sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Sample all channels of a map at the same points.

    Args:
        maps: (N, C, h, w) float, each covering the whole canvas.
        points: (N, P, 2).

    Returns:
        (N, C, P).
    """
    return F.grid_sample(maps, 2 * points[:, None] - 1, align_corners=False)[:, :, 0]


def sample_masks(masks: Tensor, index: Tensor, points: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Sample binary masks where they are, without making them float or padding them to the canvas.

    Args:
        masks: (G, H, W) bool at the top left of the canvas.
        index: (N,) long, the mask that each row of points is for.
        points: (N, P, 2), or (1, P, 2) for the same points in all masks.
        canvas: (height, width) in pixels, at least (H, W).

    Returns:
        (N, P) in [0, 1], of the type of ``points``.
    """
    height, width = masks.shape[-2:]
    position = points * points.new_tensor([canvas[1], canvas[0]]) - 0.5
    low = position.floor()
    after = position - low
    x, x_weights = _neighbours(low[..., 0], after[..., 0], width)
    y, y_weights = _neighbours(low[..., 1], after[..., 1], height)
    cells = (y[..., :, None] * width + x[..., None, :]).flatten(-2)  # (N or 1, P, 4)
    weights = (y_weights[..., :, None] * x_weights[..., None, :]).flatten(-2)
    return (masks.flatten(1)[index[:, None, None], cells] * weights).sum(dim=-1)


def _neighbours(low: Tensor, after: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the two cells around a position on an axis, (..., 2), and their weights, 0 outside."""
    cells = torch.stack([low, low + 1], dim=-1).long()
    inside = (cells >= 0) & (cells < size)
    return cells.clamp(0, size - 1), torch.stack([1 - after, after], dim=-1) * inside


@torch.no_grad()
def uncertain_points(
    mask_logits: Tensor, count: int, *, oversampling: float, importance: float, draw: Draw = torch.rand
) -> Tensor:
    """Draw points for each mask, most of them where it is least sure (Kirillov et al. 2020, "PointRend", section 3.1).

    Args:
        mask_logits: (N, h, w).
        count: P.
        oversampling: so many times P candidates are drawn evenly.
        importance: this share of P are the candidates with logits nearest to 0; the others are drawn anew, evenly.
        draw: makes random numbers in [0, 1) of a shape.

    Returns:
        (N, P, 2).
    """
    candidates = draw(len(mask_logits), int(count * oversampling), 2).to(mask_logits)
    doubt = -sample_maps(mask_logits[:, None], candidates)[:, 0].abs()
    kept = doubt.topk(int(importance * count), dim=1, sorted=False).indices
    chosen = candidates.gather(1, kept[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, draw(len(mask_logits), count - kept.shape[1], 2).to(mask_logits)], dim=1)
