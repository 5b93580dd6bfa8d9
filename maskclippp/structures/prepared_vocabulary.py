"""What a method makes of a test vocabulary, once, and reads in inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .text_bank import TextBank


@dataclass(frozen=True, kw_only=True)
class PreparedVocabulary:
    """The K classes that pictures are labelled with. A method adds in a subclass what else depends on them.

    Nothing here is changed afterwards, so that several can be in use with one model at the same time.

    Attributes:
        name: how messages call it.
        names: K tuples of synonyms.
        things: contiguous ids of countable classes, ascending.
        seen: (K,) bool, classes that the method has been trained on.
        bank: their text embeddings; None for a method without text.
        ignore_label: value of unlabelled pixels in the annotations of the dataset, where it says one.
    """

    name: str
    names: Sequence[tuple[str, ...]]
    things: tuple[int, ...]
    seen: Tensor
    bank: TextBank | None = None
    ignore_label: int | None = None

    def __len__(self) -> int:
        return len(self.names)
