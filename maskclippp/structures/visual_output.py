"""What a visual encoder says about pictures and masks."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class VisualOutput:
    """Features of B pictures.

    Attributes:
        mask_embeddings: B tensors (Q, D), not normalised; None when no masks were asked for.
        areas: B tensors (Q,), sum of each mask on the patch grid; 0 means that it vanished when down-sampled.
        features: other requested features by name (with the encoder's suffix); each a list of B tensors,
            (C, h, w) for maps and (D,) for vectors.
    """

    mask_embeddings: list[Tensor] | None
    areas: list[Tensor] | None
    features: dict[str, list[Tensor]] = field(default_factory=dict)
