"""Attention inside (shifted) windows of a map, biased by relative position (Liu et al. 2021, "Swin Transformer")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OTHER_REGION = -100.0


class WindowAttention(nn.Module):
    """Multi-head attention whose tokens see the other tokens of their window.

    The map is padded with zeros at the right and bottom to whole windows, **then** rolled by the shift; padding takes
    part, as published. A rolled map has tokens from opposite borders in its last row and column of windows; they are
    kept apart. Only those windows need a mask, and there are three of them whatever the map's size: the windows are
    attended to in four groups, each with one bias for all, instead of a mask for each window.

    Args:
        dim: channels.
        num_heads: that share them.
        window: side of a window, in tokens.
        shift: 0 <= shift < window.
        qkv_bias: queries, keys and values have one.
        scale: of the products; None: 1 / sqrt(channels of a head).
        attn_drop, proj_drop: dropout of the weights and of the output.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: int,
        shift: int = 0,
        *,
        qkv_bias: bool = True,
        scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads, self.window, self.shift = num_heads, window, shift
        self.scale, self.attn_drop = scale, attn_drop
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(window))
        self.register_buffer("region_masks", region_masks(window, shift) if shift else None, persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self._kept_bias: tuple[tuple[int, int], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        bias = self.bias()
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
            x = self._attend_by_region(self.qkv(x), bias)
            x = x.roll((self.shift, self.shift), (1, 2))
        else:
            x = self._attend(self.qkv(x), bias)
        return self.proj_drop(self.proj(x[:, :height, :width]))

    def bias(self) -> Tensor:
        """The bias of each head by query and key, (heads, N, N); gathered once as long as a frozen table stays."""
        table = self.relative_position_bias_table
        if table.requires_grad or torch.compiler.is_compiling():
            return self._gather_bias()
        state = (table._version, table.data_ptr())
        if self._kept_bias is None or self._kept_bias[0] != state:
            self._kept_bias = (state, self._gather_bias())
        return self._kept_bias[1]

    def _gather_bias(self) -> Tensor:
        tokens = self.window**2
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.view(tokens, tokens, self.num_heads).permute(2, 0, 1).contiguous()

    def _attend_by_region(self, qkv: Tensor, bias: Tensor) -> Tensor:
        rows, columns = (_inner_and_last(length, self.window) for length in qkv.shape[1:3])
        strips = []
        for last_row, row in rows:
            parts = [
                self._attend(qkv[:, row, column], bias + self.region_masks[last_row, last_column])
                for last_column, column in columns
            ]
            strips.append(torch.cat(parts, dim=2))
        return torch.cat(strips, dim=1)

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """(B, H, W, 3C), whole windows, with one bias (heads, N, N) for all of them -> (B, H, W, C)."""
        batch, height, width, _ = qkv.shape
        side, grid = self.window, (height // self.window, width // self.window)
        windows = qkv.reshape(batch, grid[0], side, grid[1], side, 3, self.num_heads, -1)
        windows = windows.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(1, 3)  # (3, windows, heads, N, C/heads)
        query, key, value = windows.unbind()
        seen = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias[None].to(query.dtype),
            dropout_p=self.attn_drop if self.training else 0.0,
            scale=self.scale,
        )
        seen = seen.view(batch, *grid, self.num_heads, side, side, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return seen.reshape(batch, height, width, -1)


def relative_positions(window: int) -> Tensor:
    """Return the row of the bias table by query and key: (dy + w - 1) * (2w - 1) + dx + w - 1, (w*w, w*w) long."""
    place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = place[:, None] - place[None] + window - 1
    return offset[..., 0] * (2 * window - 1) + offset[..., 1]


def region_masks(window: int, shift: int) -> Tensor:
    """What keeps tokens of different borders apart in a rolled map.

    Returns:
        (2, 2, w*w, w*w): by whether a window is of the last row, of the last column; -100 between two regions, else 0.
    """
    rolled_in = torch.arange(window) >= window - shift
    masks = torch.zeros(2, 2, window**2, window**2)
    for last_row in (0, 1):
        for last_column in (0, 1):
            region = 2 * (last_row * rolled_in)[:, None] + (last_column * rolled_in)[None]
            masks[last_row, last_column] = OTHER_REGION * (region.view(-1, 1) != region.view(1, -1))
    return masks


def _inner_and_last(length: int, window: int) -> list[tuple[int, slice]]:
    """Split an axis into all windows but the last (0), if there are such, and the last (1)."""
    last = (1, slice(length - window, length))
    return [(0, slice(0, length - window)), last] if length > window else [last]
