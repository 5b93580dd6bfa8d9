"""Which classes the logits of a mask generator are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NoClasses:
    """It finds masks and says nothing about their classes."""


@dataclass(frozen=True)
class OpenClasses:
    """It classifies by the names of the test vocabulary, and void."""


@dataclass(frozen=True)
class ClosedClasses:
    """It knows a fixed number of classes, and void.

    Attributes:
        count: K' of the classes; 1 is a class-agnostic generator, whose one class is "object".
        names: the synonyms of each; None: they are those of DATASETS.TRAIN[0].
    """

    count: int
    names: Sequence[tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        if self.names is not None and len(self.names) != self.count:
            raise ValueError(f"{self.count} classes with {len(self.names)} names")


ClassSpace = NoClasses | OpenClasses | ClosedClasses
