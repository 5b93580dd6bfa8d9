"""Predicted label maps as the evaluators count them and as people see them, and how much of them lies under no mask."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError

from .confusion import as_array


@dataclass(frozen=True)
class PredictedLabels:
    """A predicted label map.

    Attributes:
        scored: (H, W) classes, K where the prediction is void.
        shown: (H, W) classes, K in every pixel that lies under no mask, whatever it is scored as.
        uncovered_is_void: whether such pixels are scored as void; None: the model does not say where they are.
    """

    scored: np.ndarray
    shown: np.ndarray
    uncovered_is_void: bool | None


def predicted_labels(output: dict[str, Any], num_classes: int, *, where: str = "prediction") -> PredictedLabels:
    """Read a prediction.

    Args:
        output: with ``sem_seg`` (K, H, W) class scores or ``sem_seg_labels`` (H, W) classes (K: void), and perhaps
            ``sem_seg_uncovered`` (H, W) bool and ``uncovered_is_void``.
        num_classes: K.
        where: file, for messages.

    Raises:
        UserError: scores of another number of classes.
    """
    if "sem_seg_labels" in output:
        labels = as_array(output["sem_seg_labels"])
    elif len(output["sem_seg"]) == num_classes:
        labels = as_array(output["sem_seg"].argmax(0))
    else:
        raise UserError(
            f"{where}: the prediction has {len(output['sem_seg'])} classes, the dataset {num_classes}; "
            "the model was built for another vocabulary (DATASETS.TEST)"
        )
    if "sem_seg_uncovered" not in output:
        return PredictedLabels(labels, labels, None)
    shown = np.where(as_array(output["sem_seg_uncovered"]), num_classes, labels)
    void = bool(output.get("uncovered_is_void", False))
    return PredictedLabels(shown if void else labels, shown, void)


class CoverageCounter:
    """Counts the pixels under no mask, for the line that says what they were scored as."""

    def __init__(self) -> None:
        self.pixels = 0
        self.uncovered = 0
        self._void: bool | None = None

    @property
    def percent(self) -> float:
        """Share of the counted pixels that lie under no mask, 0 to 100."""
        return 100 * self.uncovered / max(self.pixels, 1)

    @property
    def is_void(self) -> bool:
        """Whether pixels under no mask were scored as void predictions."""
        return bool(self._void)

    def add(self, labels: PredictedLabels, counted: np.ndarray, num_classes: int) -> None:
        """Count an image.

        Args:
            labels: prediction.
            counted: (H, W) bool, the pixels that are scored.
            num_classes: K.
        """
        self.pixels += int(counted.sum())
        self.uncovered += int((counted & (labels.shown == num_classes)).sum())
        self._void = self._void if labels.uncovered_is_void is None else labels.uncovered_is_void

    def state_dict(self) -> list[Any]:
        """Counts and rule."""
        return [self.pixels, self.uncovered, self._void]

    def add_state(self, state: list[Any]) -> None:
        """Add the counts of another counter; the rule is the same."""
        self.pixels += state[0]
        self.uncovered += state[1]
        self._void = self._void if state[2] is None else state[2]

    def log(self, logger: logging.Logger, pixels: str) -> None:
        """Say how much lies under no mask and what that was scored as; nothing if no prediction said where it is.

        Args:
            logger: where to.
            pixels: what was counted.
        """
        if self._void is None:
            return
        rule = (
            "void predictions, misses of their class (MODEL.MASKCLIPPP.TEST.UNCOVERED argmax: the arg-max class)"
            if self._void
            else "their arg-max class, the first where all scores are 0, as published "
            "(MODEL.MASKCLIPPP.TEST.UNCOVERED void: void predictions)"
        )
        logger.info(
            "Semantic segmentation: %.2f %% of %d %s lie under no mask; they count as %s",
            *(self.percent, self.pixels, pixels, rule),
        )
