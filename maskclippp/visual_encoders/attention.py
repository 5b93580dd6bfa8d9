"""Multi-head attention on tokens, and position embeddings for any grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.utils.precision import full_precision


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """(B, L, C) -> (B, heads, L, C / heads)."""
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(tokens: Tensor) -> Tensor:
    """(B, heads, L, C / heads) -> (B, L, C)."""
    return tokens.transpose(1, 2).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Fused attention.

    Args:
        query: (B, heads, Lq, C / heads).
        key, value: (B, heads, Lk, C / heads).
        bias: (B, heads or 1, Lq, Lk): float, added to the scores, or bool, true where a query may read; each query may
            read something. None: everything.

    Returns:
        (B, Lq, C).
    """
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(query.dtype)
    return merge_heads(F.scaled_dot_product_attention(query, key, value, attn_mask=bias))


def attend_with_own(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, own_key: Tensor, own_value: Tensor
) -> Tensor:
    """Attention in which each query also reads one key and value of its own, always.

    Args:
        query, key, value, bias: see :func:`attend`; here a query may be forbidden all keys.
        own_key, own_value: (B, heads, Lq, C / heads).

    Returns:
        (B, Lq, C).
    """
    query = query * query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2)
    scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias
    own = (query * own_key).sum(dim=-1, keepdim=True)
    weights = torch.cat([own, scores], dim=-1).softmax(dim=-1)
    return merge_heads(weights[..., :1] * own_value + weights[..., 1:] @ value)


def to_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h*w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def resize_position_embedding(embedding: Tensor, source: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """Interpolate the patch part of a (1 + hs*ws, C) embedding to (1 + h*w, C), bicubic with aligned corners."""
    if tuple(source) == tuple(target):
        return embedding
    patches = full_precision(embedding[1:].T.reshape(1, -1, *source))
    patches = F.interpolate(patches, size=target, mode="bicubic", align_corners=True)
    return torch.cat([embedding[:1], patches[0].flatten(1).T.to(embedding)])
