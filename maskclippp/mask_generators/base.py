"""What every mask generator promises."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..structures import MaskSet


class MaskGenerator(nn.Module):
    """Base class: records and features of their pictures -> :class:`MaskSet`.

    Attributes:
        needs_features: whether it works on features of the frozen encoder.
    """

    needs_features = False

    def forward(
        self, records: list[dict[str, Any]], *, sizes: list[tuple[int, int]], features: dict[str, list[Tensor]]
    ) -> MaskSet:
        """Find masks.

        Args:
            records: B detectron2 dicts; "image" (3, H, W), "file_name", annotation paths.
            sizes: B pairs (height, width): the grid, covering the unpadded picture, that masks are wanted on.
            features: of the frozen encoder, by name; B tensors each.
        """
        raise NotImplementedError
