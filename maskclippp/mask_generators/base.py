"""What every mask generator promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..structures import MaskRules, MaskSet, ResampledMasks, TextBank


class MaskGenerator(nn.Module):
    """Base class: records, and what a generator needs besides -> :class:`MaskSet`.

    Attributes:
        needs_features: whether it works on features of the frozen encoder.
        needs_text: whether it classifies by the names of the test vocabulary.
        classes_are_fixed: whether its logits are over classes of its own instead of the test vocabulary.
        num_classes: how many these are.
        class_names: their entries, synonyms separated by commas; None: they are those of DATASETS.TRAIN[0].
        rules: what its masks mean where none is, and how they become results.
    """

    needs_features = False
    needs_text = False
    classes_are_fixed = False
    num_classes: int | None = None
    class_names: list[str] | None = None
    rules = MaskRules()

    def set_metadata(self, metadata: Any) -> None:
        """Hear of the dataset that comes next; nothing, unless the masks depend on it."""

    def forward(
        self,
        records: list[dict[str, Any]],
        *,
        sizes: list[tuple[int, int]],
        features: dict[str, list[Tensor]],
        text: TextBank | None = None,
    ) -> MaskSet:
        """Find masks.

        Args:
            records: B detectron2 dicts; "image" (3, H, W), "file_name", annotation paths.
            sizes: B pairs (height, width): the grid, covering the unpadded picture, that masks are wanted on.
            features: of the frozen encoder, by name; B tensors (C, h, w) each, which cover the padded picture.
            text: names of the test vocabulary as unit vectors (Ka, 1, D) of the generator's own text encoder.
        """
        raise NotImplementedError


class FileMaskGenerator(MaskGenerator):
    """A generator whose masks lie in files, image by image; a subclass implements :meth:`read`."""

    rules = MaskRules(solid=True)

    def read(self, record: dict[str, Any]) -> np.ndarray:
        """Return the masks of one record, (Q, H0, W0) bool; Q may be 0."""
        raise NotImplementedError

    def forward(
        self,
        records: list[dict[str, Any]],
        *,
        sizes: list[tuple[int, int]],
        features: dict[str, list[Tensor]],
        text: TextBank | None = None,
    ) -> MaskSet:
        """Read the masks of each record, resize them, softly, to the wanted grid, mirror those of a mirrored image."""
        found = []
        for record, size in zip(records, sizes, strict=True):
            masks = ResampledMasks.of(torch.from_numpy(self.read(record)).to(record["image"].device)).resize(size)
            found.append(masks.hflip() if record.get("flipped") else masks)
        return MaskSet(found)
