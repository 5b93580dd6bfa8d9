"""The masked-attention decoder of Mask2Former: queries that look at their own masks become masks and class logits.

Source: Cheng et al. 2022 ("Mask2Former"), section 3.2; the open classifier is that of Yu et al. 2023 ("FC-CLIP"),
section 3.2. Parameters have the published names.

What needs masks at full resolution is computed for the predictions that are asked for only: an attention mask at the
resolution of a level is the product of the mask embedding with mask features resized to that level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fvcore.nn.weight_init import c2_xavier_fill
from torch import Tensor, nn

from maskclippp.structures import TextBank
from maskclippp.structures.synonyms import max_over_synonyms
from maskclippp.utils.precision import full_precision

from .position_encoding import sine_positions

MAX_LOGIT_SCALE = 100.0
EPSILON = 1e-8


@dataclass(frozen=True)
class MaskPredictions:
    """Masks and their classes.

    Attributes:
        class_logits: (B, Q, K + 1), the last column is void.
        mask_embeddings: (B, Q, C).
        mask_features: (B, C, h, w).
    """

    class_logits: Tensor
    mask_embeddings: Tensor
    mask_features: Tensor

    @property
    def mask_logits(self) -> Tensor:
        """(B, Q, h, w), computed at each call; positive inside the mask."""
        return mask_logits(self.mask_embeddings, self.mask_features)


def mask_logits(mask_embeddings: Tensor, mask_features: Tensor) -> Tensor:
    """(B, Q, C) and (B, C, h, w) -> (B, Q, h, w)."""
    flat = mask_embeddings.to(mask_features) @ mask_features.flatten(2)
    return flat.unflatten(2, mask_features.shape[-2:])


class Attention(nn.Module):
    """Multi-head attention with a mask that all heads share.

    Args:
        channels: width C.
        num_heads: their number divides C.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))  # rows of queries, keys, values
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            queries: (B, Q, C).
            keys, values: (B, N, C).
            allowed: (B, Q, N) bool, where a query may look; None: everywhere.

        Returns:
            (B, Q, C).
        """
        inputs = zip((queries, keys, values), self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3), strict=True)
        heads = [F.linear(*each).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in inputs]
        mask = None if allowed is None else allowed[:, None]
        attended = F.scaled_dot_product_attention(*heads, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class CrossAttentionLayer(nn.Module):
    """Queries look at a feature map; residual, then norm."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.multihead_attn = Attention(channels, num_heads)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, places: Tensor, memory: Memory, allowed: Tensor) -> Tensor:
        """(B, Q, C) queries, (Q, C) their positions, (B, Q, N) where they may look -> (B, Q, C)."""
        return self.norm(x + self.multihead_attn(x + places, memory.keys, memory.values, allowed))


class SelfAttentionLayer(nn.Module):
    """Queries look at each other; residual, then norm."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels, num_heads)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """(B, Q, C) queries, (Q, C) their positions -> (B, Q, C)."""
        placed = x + places
        return self.norm(x + self.self_attn(placed, placed, x))


class FeedForwardLayer(nn.Module):
    """Two linear maps with a ReLU between; residual, then norm."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, width)
        self.linear2 = nn.Linear(width, channels)
        self.norm = nn.LayerNorm(channels)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, Q, C) -> (B, Q, C)."""
        return self.norm(x + self.linear2(F.relu(self.linear1(x))))


class MLP(nn.Module):
    """Three linear layers with ReLUs between: (..., channels) -> (..., out_channels)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        widths = (channels, channels, channels, out_channels)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        """Apply."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


@dataclass(frozen=True)
class Memory:
    """What queries look at on one level of N positions.

    Attributes:
        values: (B, N, C).
        keys: (B, N, C), values that know their position.
        mask_features: (B, mask channels, N), resized to the level, without gradient.
    """

    values: Tensor
    keys: Tensor
    mask_features: Tensor

    @torch.no_grad()
    def allowed(self, mask_embeddings: Tensor) -> Tensor:
        """Return where each query may look: inside its mask, or everywhere if its mask is empty: (B, Q, N) bool."""
        outside = (mask_embeddings.to(self.mask_features) @ self.mask_features) < 0
        return ~outside | outside.all(dim=-1, keepdim=True)


class MaskDecoder(nn.Module):
    """Transformer decoder with masked attention; subclasses add a classifier.

    Args:
        in_channels: of the encoded maps.
        channels: width C of the queries.
        mask_channels: width of the mask features.
        num_queries: Q.
        num_heads: of all attentions.
        ffn_width: hidden width of the feed-forward nets.
        num_layers: one prediction is made before the first layer, and one after each.
        num_levels: L encoded maps, which the layers look at in turn.
        enforce_projection: project the encoded maps to C channels even if they have C.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        mask_channels: int,
        num_queries: int,
        num_heads: int,
        ffn_width: int,
        num_layers: int,
        num_levels: int,
        enforce_projection: bool = False,
    ) -> None:
        super().__init__()
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(channels, num_heads) for _ in range(num_layers)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(channels, num_heads) for _ in range(num_layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(FeedForwardLayer(channels, ffn_width) for _ in range(num_layers))
        self.decoder_norm = nn.LayerNorm(channels)
        self.query_feat = nn.Embedding(num_queries, channels)
        self.query_embed = nn.Embedding(num_queries, channels)
        self.level_embed = nn.Embedding(num_levels, channels)
        project = enforce_projection or in_channels != channels
        self.input_proj = nn.ModuleList(
            nn.Conv2d(in_channels, channels, 1) if project else nn.Identity() for _ in range(num_levels)
        )
        for projection in self.input_proj if project else ():
            c2_xavier_fill(projection)
        self.mask_embed = MLP(channels, mask_channels)

    def classify(self, normed: Tensor, mask_embeddings: Tensor, mask_features: Tensor, text: TextBank | None) -> Tensor:
        """Return class logits (B, Q, K + 1) of normed queries (B, Q, C)."""
        raise NotImplementedError

    def forward(
        self,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        text: TextBank | None = None,
        intermediate: bool = False,
    ) -> list[MaskPredictions]:
        """Decode.

        Args:
            levels: L encoded maps (B, in_channels, h, w), the coarsest first.
            mask_features: (B, mask channels, h, w).
            text: names of the classes, where the classifier needs them; the last class is void.
            intermediate: return all predictions, the first one from the untouched queries; else only the last.

        Returns:
            The last prediction at the end.
        """
        memories = [self._memory(number, level, mask_features) for number, level in enumerate(levels)]
        places = self.query_embed.weight
        x = self.query_feat.weight.expand(len(mask_features), -1, -1)
        layers = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        predictions = []
        for number, (look, exchange, think) in enumerate(layers):
            normed = self.decoder_norm(x)
            mask_embeddings = self.mask_embed(normed)
            if intermediate:
                predictions.append(self._predict(normed, mask_embeddings, mask_features, text))
            memory = memories[number % len(memories)]
            x = think(exchange(look(x, places, memory, memory.allowed(mask_embeddings)), places))
        normed = self.decoder_norm(x)
        return [*predictions, self._predict(normed, self.mask_embed(normed), mask_features, text)]

    def _memory(self, number: int, level: Tensor, mask_features: Tensor) -> Memory:
        shape = level.shape[-2:]
        values = self.input_proj[number](level).flatten(2).transpose(1, 2) + self.level_embed.weight[number]
        resized = F.interpolate(mask_features.detach(), shape, mode="bilinear", align_corners=False).flatten(2)
        return Memory(values, values + sine_positions(*shape, values.shape[-1], values.device), resized)

    def _predict(
        self, normed: Tensor, mask_embeddings: Tensor, mask_features: Tensor, text: TextBank | None
    ) -> MaskPredictions:
        classes = self.classify(normed, mask_embeddings, mask_features, text)
        return MaskPredictions(classes, mask_embeddings, mask_features)


class ClosedMaskDecoder(MaskDecoder):
    """With a linear classifier over the K classes that it was trained on (Mask2Former).

    Args:
        num_classes: K.
        options: see :class:`MaskDecoder`.
    """

    def __init__(self, *, num_classes: int, **options) -> None:
        super().__init__(**options)
        self.class_embed = nn.Linear(options["channels"], num_classes + 1)

    def classify(self, normed: Tensor, mask_embeddings: Tensor, mask_features: Tensor, text: TextBank | None) -> Tensor:
        """Return class logits (B, Q, K + 1) of normed queries (B, Q, C)."""
        return self.class_embed(normed)


class OpenMaskDecoder(MaskDecoder):
    """With a classifier that compares queries, and what lies under their masks, with names (FC-CLIP, MAFT+).

    Args:
        embed_dim: width D of the text embeddings.
        options: see :class:`MaskDecoder`.
    """

    def __init__(self, *, embed_dim: int, **options) -> None:
        super().__init__(**options)
        channels, mask_channels = options["channels"], options["mask_channels"]
        self._mask_pooling_proj = nn.Sequential(nn.LayerNorm(mask_channels), nn.Linear(mask_channels, channels))
        self.class_embed = MLP(channels, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def classify(self, normed: Tensor, mask_embeddings: Tensor, mask_features: Tensor, text: TextBank | None) -> Tensor:
        """Return class logits (B, Q, K + 1) of normed queries (B, Q, C): the best of the names of each class.

        In float32 also under autocast: a sum over all pixels of a mask can leave the range of float16.

        Args:
            text: K + 1 classes, the last is void; (Ka + 1, 1, D) unit vectors.
        """
        with torch.autocast(normed.device.type, enabled=False):
            pooled = pool_under_masks(full_precision(mask_embeddings), full_precision(mask_features))
            embeddings = self.class_embed(self._mask_pooling_proj(pooled) + full_precision(normed))
            scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
            logits = scale * F.normalize(embeddings, dim=-1) @ full_precision(text.embeddings[:, 0]).T
            best = max_over_synonyms(logits.flatten(0, 1), text.class_index, text.num_classes)
            return best.unflatten(0, logits.shape[:2])


def pool_under_masks(mask_embeddings: Tensor, mask_features: Tensor) -> Tensor:
    """Return the mean of the features where the mask's logit is positive, (B, Q, C); 0 for an empty mask.

    The gradient goes through the features, not through the masks.
    """
    with torch.no_grad():
        inside = (mask_logits(mask_embeddings, mask_features) > 0).to(mask_features).flatten(2)
    return inside @ mask_features.flatten(2).transpose(1, 2) / (inside.sum(dim=-1, keepdim=True) + EPSILON)
