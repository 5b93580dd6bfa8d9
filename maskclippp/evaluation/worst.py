"""The images with the lowest scores, kept while an evaluation runs, without keeping the others."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, order=True)
class WorstCase:
    """One image; ordered by score, then file name.

    Attributes:
        score: of this image alone, 0 to 1.
        file_name: of the picture.
        truth, prediction: 16-bit PNGs, (H, W) classes, K for none.
    """

    score: float
    file_name: str
    truth: bytes
    prediction: bytes


class WorstCases:
    """The ``count`` images with the lowest scores; the same ones in whatever order they come."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._cases: list[WorstCase] = []

    def __bool__(self) -> bool:
        return self._count > 0

    def __iter__(self):
        return iter(self._cases)

    def offer(self, score: float, file_name: str, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Look at an image: (H, W) classes, K for none. NaN, where there is nothing to score, is left out."""
        full = len(self._cases) == self._count
        if math.isnan(score) or (full and (score, file_name) > (self._cases[-1].score, self._cases[-1].file_name)):
            return
        self._insert([WorstCase(score, file_name, _png(truth), _png(prediction))])

    def state_dict(self) -> list[list]:
        """The cases as plain lists."""
        return [[case.score, case.file_name, case.truth, case.prediction] for case in self._cases]

    def add_state(self, state: list[list]) -> None:
        """Add those that others found."""
        self._insert([WorstCase(*values) for values in state])

    def _insert(self, cases: list[WorstCase]) -> None:
        # A sampler may show an image twice.
        self._cases = sorted({case.file_name: case for case in (*self._cases, *cases)}.values())[: self._count]


def read_classes(png: bytes) -> np.ndarray:
    """Return the (H, W) int32 classes of a stored label map."""
    return np.asarray(Image.open(io.BytesIO(png), formats=("PNG",))).astype(np.int32)


def _png(labels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(labels.astype(np.uint16)).save(buffer, format="PNG")
    return buffer.getvalue()
