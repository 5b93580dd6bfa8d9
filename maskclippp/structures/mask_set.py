"""The masks that a generator found, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .resampled_masks import ResampledMasks


@dataclass(frozen=True)
class MaskSet:
    """Masks of a batch.

    Attributes:
        masks: B views (Q, H, W) covering the unpadded input image; made from tensors (float in [0, 1] or bool) as well.
        logits: B tensors (Q, K' + 1) of the generator's own classifier (the last column is void), or None.
    """

    masks: Sequence[ResampledMasks | Tensor]
    logits: list[Tensor] | None = None

    def __post_init__(self) -> None:
        for index, masks in enumerate(self.masks):
            if len(masks.shape) != 3:
                raise ValueError(f"masks of image {index} have shape {tuple(masks.shape)}, not (Q, H, W)")
        object.__setattr__(self, "masks", [ResampledMasks.of(masks) for masks in self.masks])
        if self.logits is not None:
            mask_counts = [len(masks) for masks in self.masks]
            logit_counts = [len(logits) for logits in self.logits]
            if mask_counts != logit_counts:
                raise ValueError(f"masks per image {mask_counts}, but logits per image {logit_counts}")
