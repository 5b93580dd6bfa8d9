"""Text embeddings of frozen encoders, kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from maskclippp.utils.errors import first_line
from maskclippp.utils.files import atomic_write

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "MASKCLIPPP_CACHE"
DEFAULT_CACHE = "~/.cache/maskclippp"


class EmbeddingCache:
    """Embeddings by what they depend on: the encoder's class and weights, the templates, the names.

    Args:
        folder: where the files are; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, encoder: nn.Module, templates: Sequence[str], names: Sequence[str]) -> Path:
        """Return the file of these embeddings."""
        digest = hashlib.sha256(weights_digest(encoder).encode())
        digest.update(json.dumps([type(encoder).__name__, list(templates), list(names)]).encode())
        return self.folder / f"{digest.hexdigest()}.safetensors"

    def read(self, path: Path, shape: tuple[int, ...]) -> Tensor | None:
        """Return the embeddings in ``path`` if they are there, whole and of this shape."""
        try:
            embeddings = load_file(path)["embeddings"]
        except FileNotFoundError:
            return None
        # A damaged file is met with errors of many kinds.
        except Exception as error:
            logger.warning("%s: not readable, made again (%s)", path, first_line(error))
            return None
        return embeddings if tuple(embeddings.shape) == shape else None

    def write(self, path: Path, embeddings: Tensor) -> None:
        """Keep embeddings; a folder that cannot be written is only warned about."""
        try:
            with atomic_write(path) as temporary:
                save_file({"embeddings": embeddings.cpu().contiguous()}, temporary)
        except OSError as error:
            logger.warning("%s: text embeddings are not kept (%s); set %s to a folder", path, error, CACHE_VARIABLE)


def default_cache() -> EmbeddingCache | None:
    """Return the cache in ``$MASKCLIPPP_CACHE`` or ``~/.cache/maskclippp``; None if the variable is set but empty."""
    folder = os.environ.get(CACHE_VARIABLE, DEFAULT_CACHE)
    return EmbeddingCache(Path(folder).expanduser() / "text") if folder else None


def weights_digest(module: nn.Module) -> str:
    """Return a hash of all parameters and buffers of a module, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
