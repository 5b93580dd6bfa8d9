"""What a generator's masks mean: where none of them is, and how its own evaluation turns them into results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Postprocessing = Literal["published", "transformers", "transformers_oneformer"]


@dataclass(frozen=True)
class MaskRules:
    """How the masks of a generator become results.

    Attributes:
        solid: the masks have sharp borders: a pixel lies under one where the mask, resized, is at least a half. Else,
            as those of a query decoder, they are above zero wherever they say anything.
        uncovered_is_void: a pixel under no mask is predicted as no class (void). Else it counts as the class that the
            arg-max of all-zero scores gives, the first, as published evaluations have it.
        postprocessing: "published" (Mask2Former's), or that of the image processors of the package transformers.
    """

    solid: bool = False
    uncovered_is_void: bool = False
    postprocessing: Postprocessing = "published"
