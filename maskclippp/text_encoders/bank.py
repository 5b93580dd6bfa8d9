"""Text banks: every name of every class through every template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor

from maskclippp.structures import TextBank
from maskclippp.utils.precision import full_precision

from .base import TextEncoder
from .cache import EmbeddingCache

# Fewer sentences are not worth the hash of a large encoder's weights, nor a gathering over ranks.
MANY_SENTENCES = 1000


class TextClassifier:
    """Makes text banks and remembers them while they stay valid.

    Args:
        encoder: the text encoder; not owned, its parameters are the model's.
        templates: T sentences with one ``{}`` for the name.
        chunk_size: sentences that go through the encoder at once.
        cache: on disk, for frozen encoders; None: none.
        averaged: banks of :meth:`bank` are those of :func:`average_templates`.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        templates: Sequence[str],
        chunk_size: int = 512,
        cache: EmbeddingCache | None = None,
        averaged: bool = False,
    ) -> None:
        self.encoder = encoder
        self.templates = tuple(templates)
        self.chunk_size = chunk_size
        self.cache = None if encoder.tuned else cache
        self.averaged = averaged
        self._banks: dict[tuple[tuple[str, ...], ...], TextBank] = {}

    def bank(self, names: Sequence[Sequence[str]], *, spread: bool = False) -> TextBank:
        """Return the bank of K classes, each with its synonyms; cached until :meth:`clear`, without gradients.

        Args:
            names: K lists of synonyms.
            spread: share the work among all ranks, which must then all make this call.
        """
        key = tuple(tuple(synonyms) for synonyms in names)
        if key not in self._banks:
            flat = [name for synonyms in key for name in synonyms]
            index = [number for number, synonyms in enumerate(key) for _ in synonyms]
            device = self.encoder.logit_scale.device
            # Kept for long, so made in full precision also when the step around it is not.
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                embeddings = self._frozen_embeddings(flat, spread)
            class_index = torch.tensor(index, dtype=torch.long, device=embeddings.device)
            bank = TextBank(embeddings, class_index, num_classes=len(key))
            self._banks[key] = average_templates(bank) if self.averaged else bank
        return self._banks[key]

    def _frozen_embeddings(self, names: list[str], spread: bool) -> Tensor:
        if len(names) * len(self.templates) < MANY_SENTENCES:
            return self.embed(names)
        make = self._spread_embeddings if spread and comm.get_world_size() > 1 else self.embed
        if self.cache is None:
            return make(names)
        path = self.cache.path(self.encoder, self.templates, names)
        shape = (len(names), len(self.templates), self.encoder.embed_dim)
        found = self.cache.read(path, shape)
        if spread and not all(comm.all_gather(found is not None)):
            found = None  # all ranks must take the same way
        if found is not None:
            return found.to(self.encoder.logit_scale.device)
        embeddings = make(names)
        if comm.get_local_rank() == 0:
            self.cache.write(path, embeddings)
        return embeddings

    def _spread_embeddings(self, names: list[str]) -> Tensor:
        """Embed every world-size-th name here and gather the rest from the other ranks."""
        rank, world = comm.get_rank(), comm.get_world_size()
        own = self.embed(names[rank::world]) if names[rank::world] else None
        parts = comm.all_gather(None if own is None else own.cpu())
        shape = next(part.shape[1:] for part in parts if part is not None)
        embeddings = torch.empty((len(names), *shape))
        for other, part in enumerate(parts):
            if part is not None:
                embeddings[other::world] = part
        return embeddings.to(self.encoder.logit_scale.device)

    @staticmethod
    def draw(names: Sequence[Sequence[str]]) -> Tensor:
        """Choose one synonym of each of K classes by torch's global generator: (K,) long, its place."""
        counts = torch.tensor([len(synonyms) for synonyms in names])
        return (torch.rand(len(names)) * counts).long()

    def sample(self, names: Sequence[Sequence[str]], drawn: Tensor) -> TextBank:
        """Return a training bank (K, T, D) of one synonym of each class.

        Gradients reach a tuned encoder, of which only the drawn names are run; a frozen one is read from the cache.

        Args:
            names: K lists of synonyms.
            drawn: of :meth:`draw`.
        """
        if self.encoder.tuned:
            chosen = [synonyms[index] for synonyms, index in zip(names, drawn.tolist(), strict=True)]
            embeddings = self.embed(chosen)
        else:
            counts = torch.tensor([len(synonyms) for synonyms in names])
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
        embeddings = F.normalize(full_precision(torch.cat(chunks)), dim=-1)
        restored = embeddings[order.argsort().to(device)]
        return restored.unflatten(0, (len(names), len(self.templates)))

    def clear(self) -> None:
        """Forget all banks; to be called when the encoder's weights change."""
        self._banks.clear()


def average_templates(bank: TextBank) -> TextBank:
    """(Ka, T, D) -> (Ka, 1, D), the unit vector of each name's mean over the templates: FC-CLIP's text classifier."""
    return replace(bank, embeddings=F.normalize(bank.embeddings.mean(dim=1, keepdim=True), dim=-1))
