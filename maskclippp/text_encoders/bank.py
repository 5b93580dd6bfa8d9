"""Text banks: every name of every class through every template."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..structures import TextBank
from .base import TextEncoder


class TextClassifier:
    """Makes text banks and remembers them while they stay valid.

    Args:
        encoder: the text encoder; not owned, its parameters are the model's.
        templates: T sentences with one ``{}`` for the name.
        chunk_size: sentences that go through the encoder at once.
    """

    def __init__(self, encoder: TextEncoder, templates: Sequence[str], chunk_size: int = 512) -> None:
        self.encoder = encoder
        self.templates = tuple(templates)
        self.chunk_size = chunk_size
        self._banks: dict[tuple[tuple[str, ...], ...], TextBank] = {}

    def bank(self, names: Sequence[Sequence[str]]) -> TextBank:
        """Return the bank of K classes, each with its synonyms; cached until :meth:`clear`, without gradients."""
        key = tuple(tuple(synonyms) for synonyms in names)
        if key not in self._banks:
            with torch.no_grad():
                flat = [name for synonyms in key for name in synonyms]
                index = [number for number, synonyms in enumerate(key) for _ in synonyms]
                embeddings = self.embed(flat)
            class_index = torch.tensor(index, dtype=torch.long, device=embeddings.device)
            self._banks[key] = TextBank(embeddings, class_index, num_classes=len(key))
        return self._banks[key]

    def sample(self, names: Sequence[Sequence[str]]) -> TextBank:
        """Return a training bank (K, T, D): one synonym of each class, drawn at random from torch's global generator.

        Gradients reach a tuned encoder, of which only the drawn names are run; a frozen one is read from the cache.
        """
        counts = torch.tensor([len(synonyms) for synonyms in names])
        drawn = (torch.rand(len(names)) * counts).long()
        if self.encoder.tuned:
            chosen = [synonyms[index] for synonyms, index in zip(names, drawn.tolist(), strict=True)]
            embeddings = self.embed(chosen)
        else:
            starts = counts.cumsum(0) - counts
            bank = self.bank(names)
            embeddings = bank.embeddings[(starts + drawn).to(bank.embeddings.device)]
        class_index = torch.arange(len(names), device=embeddings.device)
        return TextBank(embeddings, class_index, num_classes=len(names))

    def sentences(self, names: Sequence[str]) -> list[str]:
        """Return the len(names) * T sentences: all templates of the first name, then those of the next."""
        return [template.format(name) for name in names for template in self.templates]

    def embed(self, names: Sequence[str]) -> Tensor:
        """Return (len(names), T, D) unit vectors.

        Sentences of similar length share a chunk, so that little of the context is padding.
        """
        tokens = self.encoder.tokenize(self.sentences(names))
        device = self.encoder.logit_scale.device
        order = tokens.ne(0).sum(dim=-1).argsort(stable=True)
        chunks = [self.encoder(tokens[rows].to(device)) for rows in order.split(self.chunk_size)]
        embeddings = F.normalize(torch.cat(chunks).float(), dim=-1)
        restored = embeddings[order.argsort().to(device)]
        return restored.unflatten(0, (len(names), len(self.templates)))

    def clear(self) -> None:
        """Forget all banks; to be called when the encoder's weights change."""
        self._banks.clear()


def average_templates(embeddings: Tensor) -> Tensor:
    """(Ka, T, D) unit vectors -> (Ka, D), the unit vector of their mean: FC-CLIP's own text classifier."""
    return F.normalize(embeddings.mean(dim=1), dim=-1)
