"""The pixel decoder of Mask2Former: feature maps of a backbone -> maps of one width, and features of every mask pixel.

Source: Cheng et al. 2022 ("Mask2Former"), section 3.3; the encoder layers are those of Zhu et al. 2021 ("Deformable
DETR"). Parameters have the published names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, get_norm
from fvcore.nn.weight_init import c2_xavier_fill
from torch import Tensor, nn

from maskclippp.utils.precision import full_precision

from .deformable_attention import deformable_attention
from .position_encoding import sine_positions

FFN_WIDTH = 1024
NUM_POINTS = 4
NUM_GROUPS = 32

Shapes = tuple[tuple[int, int], ...]


class DeformableAttention(nn.Module):
    """Self-attention over the tokens of several maps, each query reading a few points of every map.

    Args:
        channels: width C of the tokens.
        num_heads: their number divides C.
        num_levels: number of maps L.
        num_points: points per head and map.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int, num_points: int = NUM_POINTS) -> None:
        super().__init__()
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(channels, samples * 2)
        self.attention_weights = nn.Linear(channels, samples)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self._initialise()

    def _initialise(self) -> None:
        """Begin with points on rays, a direction for each head, and equal weights."""
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1)[:, None]
        rays = (directions[:, None, None] * steps).expand(-1, self.num_levels, -1, -1)  # (heads, L, points, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(rays.flatten())
        for zero in (self.sampling_offsets.weight, *self.attention_weights.parameters()):
            nn.init.zeros_(zero)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, queries: Tensor, values: Tensor, shapes: Shapes) -> Tensor:
        """Attend.

        Args:
            queries, values: (B, N, C), the tokens of the L maps one after the other; queries know their position.
            shapes: (height, width) of each map.

        Returns:
            (B, N, C).
        """
        points, sizes = _grid(shapes, queries.device)
        both = (self.sampling_offsets, self.attention_weights)  # one product for both
        mixed = F.linear(queries, torch.cat([b.weight for b in both]), torch.cat([b.bias for b in both]))
        offsets, weights = mixed.split([b.out_features for b in both], dim=-1)
        offsets = offsets.unflatten(-1, (self.num_heads, self.num_levels, self.num_points, 2))
        weights = weights.unflatten(-1, (self.num_heads, -1)).softmax(dim=-1)
        sampled = deformable_attention(
            self.value_proj(values).unflatten(-1, (self.num_heads, -1)),
            list(shapes),
            points[:, None, None, None] + offsets / sizes[:, None],
            weights.unflatten(-1, (self.num_levels, self.num_points)),
        )
        return self.output_proj(sampled)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _grid(shapes: Shapes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the centre (x, y) in [0, 1] of each token, (N, 2), and (width, height) of each map, (L, 2)."""
    points = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        points.append(torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1).flatten(0, 1))
    sizes = torch.tensor([[width, height] for height, width in shapes], device=device, dtype=torch.float32)
    return torch.cat(points), sizes


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward net, each with a residual and a norm after it."""

    def __init__(self, channels: int, num_heads: int, num_levels: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(channels, num_heads, num_levels)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, FFN_WIDTH)
        self.linear2 = nn.Linear(FFN_WIDTH, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = dropout
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def _drop(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)

    def forward(self, tokens: Tensor, positions: Tensor, shapes: Shapes) -> Tensor:
        """(B, N, C) tokens and (N, C) positions -> (B, N, C)."""
        tokens = self.norm1(tokens + self._drop(self.self_attn(tokens + positions, tokens, shapes)))
        hidden = self._drop(F.relu(self.linear1(tokens), inplace=True))
        return self.norm2(tokens + self._drop(self.linear2(hidden)))


class DeformableEncoder(nn.Module):
    """Layers over the tokens of all levels together.

    Args:
        channels: width C.
        num_heads, num_levels: of the attention.
        num_layers: layers.
        dropout: of each layer.
    """

    def __init__(self, channels: int, num_heads: int, num_levels: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(num_levels, channels).normal_())
        layers = [EncoderLayer(channels, num_heads, num_levels, dropout) for _ in range(num_layers)]
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(layers)})

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """L maps (B, C, h, w) -> L maps of the same shapes."""
        shapes = tuple((level.shape[-2], level.shape[-1]) for level in maps)
        tokens = torch.cat([level.flatten(2) for level in maps], dim=2).transpose(1, 2)
        places = [sine_positions(*shape, tokens.shape[-1], tokens.device) for shape in shapes]
        positions = torch.cat([place + level for place, level in zip(places, self.level_embed, strict=True)])
        for layer in self.encoder["layers"]:
            tokens = layer(tokens, positions, shapes)
        lengths = [height * width for height, width in shapes]
        levels = tokens.transpose(1, 2).split(lengths, dim=2)
        return [level.unflatten(2, shape) for level, shape in zip(levels, shapes, strict=True)]


class PixelDecoder(nn.Module):
    """Multi-scale deformable pixel decoder.

    Args:
        in_channels: of the maps, in the order of ascending strides.
        num_levels: L; so many of the maps, the coarsest, go through the encoder.
        channels: width C of the encoder.
        mask_channels: width of the mask features.
        num_heads, num_layers, dropout: of the encoder.
        norm: detectron2's name of the norm beside the encoder.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_levels: int,
        channels: int,
        mask_channels: int,
        num_heads: int,
        num_layers: int,
        dropout: float = 0.0,
        norm: str = "GN",
    ) -> None:
        super().__init__()
        self.num_fine = len(in_channels) - num_levels
        coarse = reversed(in_channels[self.num_fine :])
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, channels, 1), nn.GroupNorm(NUM_GROUPS, channels)) for width in coarse
        )
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)
        self.transformer = DeformableEncoder(channels, num_heads, num_levels, num_layers, dropout)
        for number, width in enumerate(in_channels[: self.num_fine], start=1):
            self.add_module(f"adapter_{number}", _convolution(width, channels, 1, norm))
            self.add_module(f"layer_{number}", _convolution(channels, channels, 3, norm, F.relu))
        self.mask_features = Conv2d(channels, mask_channels, 1)
        c2_xavier_fill(self.mask_features)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decode, in float32 also under autocast.

        Args:
            features: maps (B, c, h, w) in the order of ascending strides.

        Returns:
            Mask features (B, mask channels, h, w) at the finest stride, and the L encoded maps (B, C, h, w), the
            coarsest first.
        """
        with torch.autocast(features[0].device.type, enabled=False):
            features = [full_precision(feature) for feature in features]
            coarse = features[self.num_fine :][::-1]
            encoded = self.transformer([project(f) for project, f in zip(self.input_proj, coarse, strict=True)])
            finest = encoded[-1].contiguous()  # it has the layout of tokens, in which resizing is slow
            for number in range(self.num_fine, 0, -1):
                lateral = self.get_submodule(f"adapter_{number}")(features[number - 1])
                finest = lateral + F.interpolate(finest, lateral.shape[-2:], mode="bilinear", align_corners=False)
                finest = self.get_submodule(f"layer_{number}")(finest)
            return self.mask_features(finest), encoded


def _convolution(in_channels: int, out_channels: int, size: int, norm: str, activation=None) -> Conv2d:
    """Return a convolution, without bias where a norm follows."""
    convolution = Conv2d(
        in_channels,
        out_channels,
        size,
        padding=size // 2,
        bias=norm == "",
        norm=get_norm(norm, out_channels),
        activation=activation,
    )
    c2_xavier_fill(convolution)
    return convolution
