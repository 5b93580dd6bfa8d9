"""CLIP weights that open_clip names by a tag: a copy made by hand, huggingface_hub's cache, or a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
from open_clip import get_pretrained_cfg

from ..errors import UserError
from .known import clip_place

SAFE_NAME = "open_clip_model.safetensors"
PICKLED_NAME = "open_clip_pytorch_model.bin"
# The bases of the hub's errors are those of its HTTP library, which differs between its releases.
HUB_ERRORS = (*HfHubHTTPError.__bases__, OSError, RuntimeError)


@dataclass(frozen=True)
class ClipWeights:
    """The weights of one open_clip model under one tag.

    Attributes:
        model: open_clip architecture.
        tag: open_clip tag.
        repository: on the Hugging Face hub.
        files: names there, the first that exists counts.
        place: where a copy made by hand is looked for (also with the suffix .bin or .pt).
    """

    model: str
    tag: str
    repository: str
    files: tuple[str, ...]
    place: Path

    def local(self) -> Path | None:
        """Return the file if it is on this machine."""
        for copy in (self.place, self.place.with_suffix(".bin"), self.place.with_suffix(".pt")):
            if copy.is_file():
                return copy
        for name in self.files:
            cached = huggingface_hub.try_to_load_from_cache(self.repository, name)
            if isinstance(cached, str):
                return Path(cached)
        return None

    def fetch(self) -> Path:
        """Return the file; download it into huggingface_hub's cache if it is not on this machine.

        The hub's client shows progress, resumes, and lets one process of a machine download while others wait.

        Raises:
            UserError: no connection, or the repository has no such file.
        """
        found = self.local()
        if found is not None:
            return found
        try:
            return self._download()
        except HUB_ERRORS as error:
            raise UserError(self._by_hand(error)) from None

    def _download(self) -> Path:
        for name in self.files[:-1]:
            try:
                return Path(huggingface_hub.hf_hub_download(self.repository, name))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
        return Path(huggingface_hub.hf_hub_download(self.repository, self.files[-1]))

    def _by_hand(self, error: Exception) -> str:
        reason = "no connection" if isinstance(error, LocalEntryNotFoundError) else str(error).splitlines()[0]
        return (
            f"the weights '{self.tag}' of {self.model} cannot be downloaded ({reason}): download "
            f"{' or '.join(self.files)} of {self.repository} on the Hugging Face hub on another machine and put it at "
            f"{self.place} (keep the suffix), or name the file in PRETRAINED"
        )


def find_clip_weights(model: str, tag: str) -> ClipWeights:
    """Return where the weights of an open_clip model are; ``tag`` in any spelling that open_clip understands.

    Raises:
        KeyError: open_clip has no such tag for this model.
    """
    facts = get_pretrained_cfg(model, tag)
    if not facts:
        raise KeyError(f"{model} has no weights '{tag}'")
    repository, _, name = facts["hf_hub"].rpartition("/")
    if name.endswith(".bin"):
        files: tuple[str, ...] = (f"{name.removesuffix('.bin')}.safetensors", name)
    else:
        files = (name,) if name else (SAFE_NAME, PICKLED_NAME)
    return ClipWeights(model, tag, repository, files, clip_place(model, tag))
