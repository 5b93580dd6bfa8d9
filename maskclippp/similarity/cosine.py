"""Cosine similarity of masks and class names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.utils.precision import full_precision

MAX_LOGIT_SCALE = 100.0


def cosine_similarity(mask_embeddings: Tensor, text_embeddings: Tensor, logit_scale: Tensor | None = None) -> Tensor:
    """Return similarities of every mask with every name and template.

    Args:
        mask_embeddings: (N, D), any length.
        text_embeddings: (Ka, T, D), unit length.
        logit_scale: scalar; if given, similarities are multiplied by exp(logit_scale), at most 100.

    Returns:
        (N, Ka, T), float32.
    """
    with torch.autocast(mask_embeddings.device.type, enabled=False):
        masks = F.normalize(full_precision(mask_embeddings), dim=-1)
        similarity = torch.einsum("nd,ktd->nkt", masks, full_precision(text_embeddings))
    return similarity if logit_scale is None else similarity * logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
