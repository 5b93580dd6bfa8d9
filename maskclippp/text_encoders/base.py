"""What every text encoder promises."""

from __future__ import annotations

from torch import Tensor, nn


class TextEncoder(nn.Module):
    """Base class: sentences -> text embeddings.

    Attributes:
        tuned: whether any parameter trains (then the encoder is saved and its embeddings are not cached in training).
        logit_scale: log of the factor between cosine similarity and logits, a scalar parameter.
    """

    tuned: bool
    logit_scale: nn.Parameter

    @property
    def embed_dim(self) -> int:
        """Width D of the embeddings."""
        raise NotImplementedError

    def tokenize(self, sentences: list[str]) -> Tensor:
        """Return (S, context) long token ids on the CPU."""
        raise NotImplementedError

    def forward(self, tokens: Tensor) -> Tensor:
        """(S, context) token ids -> (S, D) embeddings, not normalised."""
        raise NotImplementedError
