"""A method, a vocabulary and tasks together: records in, results out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maskclippp.inference import TaskInference
from maskclippp.structures import PreparedVocabulary

from .base import Method, Record


@dataclass(frozen=True)
class Labeller:
    """Labels pictures with the classes of one vocabulary; several can share a method at the same time.

    Attributes:
        method: in evaluation mode.
        prepared: of its :meth:`~maskclippp.methods.base.Method.prepare`.
        tasks: what becomes of its predictions.
    """

    method: Method
    prepared: PreparedVocabulary
    tasks: TaskInference

    def __call__(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Return the results of each record, see :class:`TaskInference`."""
        predictions = self.method.infer(records, self.prepared, only_masks=self.tasks.segmentor_only)
        return self.tasks(records, predictions, self.prepared)
