"""What a method says about a picture, before any task makes results of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from .mask_rules import MaskRules
from .resampled_masks import ResampledMasks


@dataclass(frozen=True)
class MaskPrediction:
    """Masks of one picture, with a class for each.

    Attributes:
        logits: (Q, K), or (Q, K + 1) with void as the last; None where only masks were wanted.
        masks: Q views that cover the unpadded picture, in [0, 1].
        rules: what they mean where none is, and how they become results.
        object_scores: (Q,) in [0, 1], how sure it is that each mask is of something, 1 - the probability of void; may
            be given where only masks were wanted. None: it is not said.
    """

    logits: Tensor | None
    masks: ResampledMasks
    rules: MaskRules = MaskRules()
    object_scores: Tensor | None = None

    def resize(self, size: tuple[int, int]) -> MaskPrediction:
        """See it on another grid, resized as the rules say."""
        masks = self.masks.resize(size)
        if self.rules.postprocessing == "transformers_oneformer":
            masks = masks.resized_by("antialias")
        return replace(self, masks=masks)

    def hflip(self) -> MaskPrediction:
        """Swap left and right."""
        return replace(self, masks=self.masks.hflip())


@dataclass(frozen=True)
class DensePrediction:
    """Scores of all classes at each place of one picture.

    Attributes:
        scores: K views that cover the unpadded picture, of any values; the greatest wins.
    """

    scores: ResampledMasks

    def resize(self, size: tuple[int, int]) -> DensePrediction:
        """See it on another grid."""
        return replace(self, scores=self.scores.resize(size))

    def hflip(self) -> DensePrediction:
        """Swap left and right."""
        return replace(self, scores=self.scores.hflip())


Prediction = MaskPrediction | DensePrediction
