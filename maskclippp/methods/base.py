"""What the engine, evaluation and test-time augmentation may ask of any method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from maskclippp.structures import ParameterRule, Prediction, PreparedVocabulary

Record = dict[str, Any]
"""A detectron2 dict: "image" (3, H, W) RGB 0-255, "file_name", in training "instances", ..."""


@dataclass(frozen=True)
class StepTargets:
    """What a part of a training batch is trained towards; made without gradient, before the losses.

    Attributes:
        divisors: what the sums of the losses are divided by, by name. Those of the parts of a batch, whether one after
            the other or on other processes, add up, and all parts are divided by the sum.
        data: what the method's own losses need besides.
    """

    divisors: Mapping[str, float | Tensor]
    data: Any = field(default=None, repr=False)


class Method(nn.Module, ABC):
    """Base class of all methods. They are detectron2 meta-architectures, built from a config.

    Attributes:
        parameter_rules: how parts train that need another learning rate.
        finds_unused_parameters: a step may leave trainable parameters out, so that processes must look for them.
    """

    parameter_rules: Sequence[ParameterRule] = ()
    finds_unused_parameters = False

    @property
    @abstractmethod
    def checkpoint_prefixes(self) -> tuple[str, ...]:
        """Beginnings of the state-dict names that a checkpoint keeps."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the model is."""

    def random_parts(self, *, only_masks: bool) -> tuple[str, ...]:
        """Return beginnings of the state-dict names of what is random until it is trained, and counts in evaluation.

        Args:
            only_masks: of masks without classes.
        """
        return ()

    def adapt_checkpoint(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Bring the weights of a file, by name, to the names of this model."""
        return weights

    def targets(self, records: Sequence[Record], step: int) -> StepTargets:
        """Prepare a part of a training batch.

        Random choices that hold for the whole batch are made here: torch's generator is in one state for all parts.

        Args:
            records: of the part.
            step: global iteration.
        """
        return StepTargets({"pictures": float(len(records))})

    @abstractmethod
    def losses(self, records: Sequence[Record], targets: StepTargets, step: int) -> dict[str, Tensor]:
        """Return named losses of a part of a training batch: sums over the part, divided by ``targets.divisors``.

        Every parameter that trains must be reached, whatever the pictures hold, unless ``finds_unused_parameters``.

        Args:
            records: of the part.
            targets: of :meth:`targets`, with the divisors of the whole batch.
            step: global iteration.
        """

    @abstractmethod
    def prepare(self, metadata: Any, *, only_masks: bool = False, spread: bool = False) -> PreparedVocabulary:
        """Make what depends on the test vocabulary.

        Args:
            metadata: detectron2 metadata of a dataset.
            only_masks: for :meth:`infer` with ``only_masks``.
            spread: share the work among all processes, which must then all make this call.

        Raises:
            UserError: the method cannot label with this vocabulary.
        """

    @abstractmethod
    def infer(
        self, records: Sequence[Record], prepared: PreparedVocabulary, *, only_masks: bool = False
    ) -> list[Prediction]:
        """Label pictures; nothing in the model changes.

        Args:
            records: B pictures.
            prepared: of :meth:`prepare`.
            only_masks: masks without classes are enough.

        Returns:
            B predictions.
        """

    def forward(
        self, records: Sequence[Record], targets: StepTargets | None = None, step: int = 0
    ) -> dict[str, Tensor]:
        """Return the losses of a batch; by itself, one that is not a part of a larger one.

        Args:
            records: of the batch.
            targets: see :meth:`losses`; None: they are made here.
            step: global iteration.
        """
        return self.losses(records, targets or self.targets(records, step), step)
