"""Which pixels lie under no mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskclippp.structures import ResampledMasks


def uncovered_pixels(views: Sequence[ResampledMasks], *, solid: bool) -> Tensor:
    """Return where no mask is, (H, W) bool.

    The union of the masks is taken before anything is resized, so masks that meet leave no gap, and one map is
    resized however many masks there are.

    Args:
        views: masks of one picture (several in test-time augmentation, which are averaged), all on one grid.
        solid: a pixel is covered if the union is at least a half there; else if it is above zero.
    """
    covered = torch.stack([masks.union().dense()[0] for masks in views]).mean(dim=0)
    return ~((covered >= 0.5) if solid else (covered > 0))
