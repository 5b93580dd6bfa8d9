"""What a head may look at besides the similarities."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class SimilarityContext:
    """The embeddings behind the similarities.

    Attributes:
        mask_embeddings: (N, D), not normalised.
        text_embeddings: (Ka, T, D), unit length along D.
        image_index: (N,) long, the image of each mask.
        features: the visual encoder's other features by name, B tensors each.
        logit_scale: CLIP's logit scale if the config uses it.
    """

    mask_embeddings: Tensor
    text_embeddings: Tensor
    image_index: Tensor
    features: dict[str, list[Tensor]] = field(default_factory=dict)
    logit_scale: Tensor | None = None
