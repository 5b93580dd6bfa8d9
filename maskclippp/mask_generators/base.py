"""What every mask generator promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskclippp.structures import ClassSpace, MaskRules, MaskSet, NoClasses, ResampledMasks, TextBank


@dataclass(frozen=True, kw_only=True)
class GeneratorInput:
    """What a generator may look at.

    Attributes:
        records: B detectron2 dicts; "image" (3, H, W), "file_name", annotation paths.
        sizes: B pairs (height, width): the grid, covering the unpadded picture, that masks are wanted on.
        features: of the frozen encoder, by name; B tensors (C, h, w) each, which cover the padded picture.
        text: names of the test vocabulary as unit vectors (Ka, 1, D) of the generator's own text encoder.
        ignore_label: value of unlabelled pixels in the annotations of the test dataset; None: its annotations say it.
    """

    records: Sequence[dict[str, Any]]
    sizes: Sequence[tuple[int, int]]
    features: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    text: TextBank | None = None
    ignore_label: int | None = None


class MaskGenerator(nn.Module, ABC):
    """Base class: :class:`GeneratorInput` -> :class:`MaskSet`.

    Attributes:
        needs_features: whether it works on features of the frozen encoder.
        needs_text: whether it classifies by names of the test vocabulary, ``classes`` being :class:`OpenClasses`.
        classes: what its logits are over.
        rules: what its masks mean where none is, and how they become results.
    """

    needs_features = False
    needs_text = False
    classes: ClassSpace = NoClasses()
    rules = MaskRules()

    @abstractmethod
    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Find the masks of B pictures."""


class FileMaskGenerator(MaskGenerator):
    """A generator whose masks lie in files, image by image; a subclass implements :meth:`read`."""

    rules = MaskRules(solid=True)

    @abstractmethod
    def read(self, record: dict[str, Any], ignore_label: int | None) -> np.ndarray:
        """Return the masks of one record, (Q, H0, W0) bool; Q may be 0.

        Args:
            record: of the picture.
            ignore_label: see :class:`GeneratorInput`.
        """

    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Read the masks of each record, resize them, softly, to the wanted grid, mirror those of a mirrored image."""
        found = []
        for record, size in zip(inputs.records, inputs.sizes, strict=True):
            solid = torch.from_numpy(self.read(record, inputs.ignore_label)).to(record["image"].device)
            masks = ResampledMasks.of(solid).resize(size)
            found.append(masks.hflip() if record.get("flipped") else masks)
        return MaskSet(found)
