"""Reading weight files as tensors only, and saying in a short table how they fit a model."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import UserError, nearest
from .restricted_pickle import load_pickle
from .weights import ensure_weights, weights_are_skipped

TORCH_SUFFIXES = {".pth", ".pt", ".bin"}
SHOWN_KEYS = 5


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return ``{"model": {key: tensor}, ...}`` from a ``.pth``, ``.pt``, ``.bin``, ``.safetensors`` or ``.pkl`` file.

    The weights may stand under "model" or "state_dict", or be the whole file. Nothing but tensors and plain containers
    is read; a ``module.`` that data-parallel training put before every key is removed. A known file that is
    not there is downloaded first.

    Raises:
        UserError: missing, truncated or foreign file; a file that holds other Python objects; no weights in it.
    """
    file = ensure_weights(path)
    if not file.is_file():
        raise UserError(f"there is no checkpoint {path}{_similar(file)}")
    content = _read(file)
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds a {type(content).__name__}, not weights by name")
    rest = dict(content)
    weights = next((rest.pop(name) for name in ("model", "state_dict") if isinstance(rest.get(name), Mapping)), None)
    if weights is None:
        weights, rest = rest, {}
    weights = {key: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for key, v in weights.items()}
    strange = next((key for key, value in weights.items() if not isinstance(value, Tensor)), None)
    if strange is not None or not weights:
        found = f"'{strange}' is a {type(weights[strange]).__name__}, not a tensor" if weights else "it is empty"
        raise UserError(f"{file}: no weights by name in it: {found}")
    return {"model": _without_wrapper(weights), **rest}


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        if file.suffix in TORCH_SUFFIXES:
            return torch.load(file, map_location="cpu", weights_only=True)
        if file.suffix == ".pkl":
            return load_pickle(file)
    except pickle.UnpicklingError:
        raise UserError(f"{file}: refused, it is damaged or holds Python objects, which could run code") from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file}: not readable as a checkpoint, perhaps truncated; copy it again ({reason})") from None
    raise UserError(f"{file}: checkpoints are .pth, .pt, .bin, .safetensors or .pkl files")


def _without_wrapper(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wrapped = all(key.startswith("module.") for key in weights)
    return {key.removeprefix("module."): value for key, value in weights.items()} if wrapped else dict(weights)


def _similar(file: Path) -> str:
    names = [other.name for other in file.parent.glob("*") if other.suffix in TORCH_SUFFIXES | {".safetensors", ".pkl"}]
    close = nearest(file.name, names) or sorted(names)[:3]
    return f"; {file.parent} has {', '.join(close)}" if close else ""


@dataclass(frozen=True)
class KeyFit:
    """How the keys of a file fit those of a model.

    Attributes:
        matched: keys with equal shapes.
        missing: keys that the model needs and the file lacks.
        unexpected: keys of the file that the model does not have.
        mismatched: "key: shape in the file, shape in the model".
    """

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, unexpected or mismatched."""
        return not (self.missing or self.unexpected or self.mismatched)

    def table(self) -> str:
        """A few lines: how many keys of each sort, and the first ones."""
        rows = [f"  {'matched':<11}{len(self.matched):>5}"]
        for sort in ("missing", "unexpected", "mismatched"):
            keys = getattr(self, sort)
            shown = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
            rows.append(f"  {sort:<11}{len(keys):>5}  {shown}".rstrip())
        return "\n".join(rows)


def load_part(module: nn.Module, path: str | Path, prefix: str = "") -> None:
    """Load one part of a larger checkpoint into ``module``: the entries that begin with ``prefix``, without it.

    The prefix may cover more than the module has; the rest of it is left alone. Inside
    :func:`~maskclippp.utils.weights.without_weights` nothing is read.

    Raises:
        UserError: unreadable file, or the part lacks keys of the module or has them in other shapes (with a table).
    """
    if weights_are_skipped():
        return
    weights = read_checkpoint(path)["model"]
    part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    fit = compare_keys(module.state_dict(), part)
    if fit.missing or fit.mismatched:
        raise UserError(f"{path}: the part '{prefix}' does not fit {type(module).__name__}\n{fit.table()}")
    chosen = set(fit.matched)
    module.load_state_dict({key: value for key, value in part.items() if key in chosen})


def compare_keys(
    model: Mapping[str, Tensor], weights: Mapping[str, Tensor], is_needed: Callable[[str], bool] = lambda key: True
) -> KeyFit:
    """Compare a model's state dict with ``weights``; ``is_needed`` tells which of the model's keys a file must have."""
    common = [key for key in weights if key in model]
    return KeyFit(
        matched=[key for key in common if weights[key].shape == model[key].shape],
        missing=[key for key in model if key not in weights and is_needed(key)],
        unexpected=[key for key in weights if key not in model],
        mismatched=[
            f"{key}: {tuple(weights[key].shape)} in the file, {tuple(model[key].shape)} in the model"
            for key in common
            if weights[key].shape != model[key].shape
        ],
    )
