"""Text embeddings of a vocabulary and which class each name belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TextBank:
    """Unit text vectors of all names of all classes.

    Attributes:
        embeddings: (Ka, T, D), unit length along D.
        class_index: (Ka,) long, the class of each name, ascending.
        num_classes: K.
    """

    embeddings: Tensor
    class_index: Tensor
    num_classes: int

    def __post_init__(self) -> None:
        if self.embeddings.dim() != 3 or self.class_index.shape != self.embeddings.shape[:1]:
            raise ValueError(
                f"embeddings {tuple(self.embeddings.shape)} and class index {tuple(self.class_index.shape)}, "
                "not (Ka, T, D) and (Ka,)"
            )
