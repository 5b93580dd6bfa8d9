"""Reading weight files as tensors only, and saying in a short table how they fit a model."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import UserError, as_line, first_line, nearest, show
from .files import regular_file
from .restricted_pickle import load_pickle
from .weights import ensure_weights, weights_are_skipped
from .weights.kinds import why_not_weights

TORCH_SUFFIXES = {".pth", ".pt", ".bin"}
SHOWN_KEYS = 5
MAX_KEY = 120
REPEATED_BYTES = 1 << 24
"""A tensor may repeat its numbers (a stride of 0) up to this size."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return ``{"model": {key: tensor}, ...}`` from a ``.pth``, ``.pt``, ``.bin``, ``.safetensors`` or ``.pkl`` file.

    The weights may stand under "model" or "state_dict", or be the whole file. Nothing but tensors and plain containers
    is read; a ``module.`` that data-parallel training put before every key is removed. A known file that is
    not there is downloaded first.

    Raises:
        UserError: missing, truncated or foreign file; a file that holds other Python objects; no weights in it, keys
            that are no names, or entries that are no plain tensors of numbers.
    """
    file = ensure_weights(path)
    if not os.path.exists(file):
        raise UserError(f"there is no checkpoint {path}{_similar(file)}")
    content = _read(regular_file(file))
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds a {type(content).__name__}, not weights by name")
    rest = dict(content)
    weights = next((rest.pop(name) for name in ("model", "state_dict") if isinstance(rest.get(name), Mapping)), None)
    if weights is None:
        weights, rest = rest, {}
    if not weights:
        raise UserError(f"{file}: no weights by name in it: it is empty")
    tensors = {_name(key, file): _tensor(key, value, file) for key, value in weights.items()}
    return {"model": _without_wrapper(tensors), **rest}


def _read(file: Path) -> Any:
    if file.suffix not in TORCH_SUFFIXES | {".safetensors", ".pkl"}:
        raise UserError(f"{file}: checkpoints are .pth, .pt, .bin, .safetensors or .pkl files")
    try:
        reason = why_not_weights(file)
        if not reason and file.suffix == ".safetensors":
            return load_file(file)
        if not reason and file.suffix in TORCH_SUFFIXES:
            return torch.load(file, map_location="cpu", weights_only=True)
        if not reason:
            return load_pickle(file)
    except pickle.UnpicklingError:
        raise UserError(f"{file}: refused, it is damaged or holds Python objects, which could run code") from None
    # These readers meet damaged content with errors of any kind.
    except Exception as error:
        reason = first_line(error)
    raise UserError(f"{file}: not readable as a checkpoint, perhaps truncated; copy it again ({reason})")


def _name(key: Any, file: Path) -> str:
    if not isinstance(key, str):
        raise UserError(f"{file}: no weights by name in it: the key {show(key)} is a {type(key).__name__}, not a name")
    return key


def _tensor(key: str, value: Any, file: Path) -> Tensor:
    """Return an entry as a tensor that can be copied without surprise."""
    where = f"{file}: no weights by name in it: '{as_line(key, MAX_KEY)}'"
    if isinstance(value, np.ndarray):
        try:
            value = torch.from_numpy(value)
        except (TypeError, ValueError):
            raise UserError(f"{where} is an array of {value.dtype}, which are no numbers of torch's") from None
    if not isinstance(value, Tensor):
        raise UserError(f"{where} is a {type(value).__name__}, not a tensor")
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_nested
    if not plain or value.is_quantized or value.is_complex():
        raise UserError(f"{where} is a tensor of another kind ({value.layout}, {value.dtype}, {value.device})")
    claimed, held = value.numel() * value.element_size(), value.untyped_storage().nbytes()
    if claimed > max(held, REPEATED_BYTES):
        raise UserError(f"{where} claims {claimed} bytes in the shape {show(tuple(value.shape))}, the file has {held}")
    return value


def _without_wrapper(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    wrapped = all(key.startswith("module.") for key in weights)
    return {key.removeprefix("module."): value for key, value in weights.items()} if wrapped else dict(weights)


def _similar(file: Path) -> str:
    if not os.path.isdir(file.parent):
        return ""
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
            first = [as_line(key, MAX_KEY) for key in keys[:SHOWN_KEYS]]
            shown = ", ".join(first + ["..."] * (len(keys) > SHOWN_KEYS))
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
