"""What every mask generator promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..structures import MaskSet
from ..structures.image_batch import resize_maps


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


class FileMaskGenerator(MaskGenerator):
    """A generator whose masks lie in files, image by image; a subclass implements :meth:`read`."""

    def read(self, record: dict[str, Any]) -> np.ndarray:
        """Return the masks of one record, (Q, H0, W0) bool; Q may be 0."""
        raise NotImplementedError

    def forward(
        self, records: list[dict[str, Any]], *, sizes: list[tuple[int, int]], features: dict[str, list[Tensor]]
    ) -> MaskSet:
        """Read the masks of each record and resize them, softly, to the wanted grid."""
        found = []
        for record, size in zip(records, sizes, strict=True):
            masks = torch.from_numpy(self.read(record)).to(record["image"].device, torch.float32)
            found.append(resize_maps(masks, size))
        return MaskSet(found)
