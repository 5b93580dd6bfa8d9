"""What all evaluators have in common: a state that is added up image by image, saved, restored, and summed exactly.

The protocol is two methods. ``state_dict`` returns everything that was added up so far, in tensors and plain
containers; ``add_state`` adds such a state to one's own. Restoring is ``reset`` and ``add_state``; joining several
processes is ``reset`` and one ``add_state`` for each of them. States hold whole numbers (fractions are in units of
:data:`UNIT`), so that the sum does not depend on the order, and an evaluation by one process, by several, or by one
that was interrupted ends with identical numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from .dataset import EvaluatedDataset

State = dict[str, Any]
Scores = dict[str, dict[str, float]]

UNIT = 1 << 53
"""Fractions are kept as whole multiples of 1 / UNIT: exact for doubles in [0.5, 1], else rounded to 53 bits."""


def to_units(fraction: float) -> int:
    """Return a fraction in [0, 1] as a whole number of units."""
    return round(fraction * UNIT)


class StreamingEvaluator(DatasetEvaluator):
    """An evaluator whose memory does not grow with the number of images, unless its docstring says what does."""

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> StreamingEvaluator:
        """Make the evaluator of a dataset; whatever is registered (:mod:`.registry`) can be made so.

        Raises:
            UserError: the dataset lacks what the evaluator needs.
        """
        raise NotImplementedError(f"{cls.__name__} has no for_dataset, so it cannot be chosen by a dataset")

    @abstractmethod
    def state_dict(self) -> State:
        """Return what was added up so far, in tensors and plain containers."""

    @abstractmethod
    def add_state(self, state: State) -> None:
        """Add what another process, or this one before an interruption, had added up."""

    @abstractmethod
    def score(self) -> Scores:
        """Turn what was added up into {task: {metric: value}}; write files and log tables.

        Raises:
            UserError: there was nothing to evaluate.
        """

    def evaluate(self) -> Scores | None:
        """Return the scores of all processes on the main one, None on the others. :meth:`reset` begins a new round."""
        if comm.get_world_size() > 1:
            parts = comm.gather(self.state_dict(), dst=0)
            if not comm.is_main_process():
                return None
            self.reset()
            for part in parts:
                self.add_state(part)
        return self.score()


class EvaluatorGroup(StreamingEvaluator):
    """Several evaluators that see the same images; their tasks have different names."""

    def __init__(self, evaluators: Sequence[StreamingEvaluator]) -> None:
        self.evaluators = list(evaluators)

    def reset(self) -> None:
        """Forget all images."""
        for evaluator in self.evaluators:
            evaluator.reset()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Show some images to all evaluators."""
        for evaluator in self.evaluators:
            evaluator.process(inputs, outputs)

    def state_dict(self) -> State:
        """States by position."""
        return {str(index): evaluator.state_dict() for index, evaluator in enumerate(self.evaluators)}

    def add_state(self, state: State) -> None:
        """Add the states by position."""
        for index, evaluator in enumerate(self.evaluators):
            evaluator.add_state(state[str(index)])

    def score(self) -> Scores:
        """The tasks of all, in order.

        Raises:
            ValueError: two evaluators have a task of the same name.
        """
        scores: Scores = OrderedDict()
        for evaluator in self.evaluators:
            for task, metrics in evaluator.score().items():
                if task in scores:
                    raise ValueError(f"two evaluators have a task '{task}'")
                scores[task] = metrics
        return scores


def add_seen(known: torch.Tensor | None, mask: Any) -> torch.Tensor | None:
    """Return the (K,) bool mask of classes seen in training: ``mask`` if there is one, else what was known."""
    return known if mask is None else torch.as_tensor(mask).cpu().bool()
