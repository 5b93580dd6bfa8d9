"""One golden case: a pair of files, and the registry of the kinds that can be checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from maskclippp.utils.errors import UserError

Results = Iterator[tuple[str, Any]]
"""Pairs (name, value): a tensor to compare with ``out.<name>``, or, for ``json.<key>``, a value with that JSON key."""


@dataclass(frozen=True)
class Case:
    """What the two files of a case say.

    Attributes:
        name: file name without suffix.
        meta: the JSON.
        tensors: ``param.*``, ``param_rows.*``, ``in.*`` and ``out.*``.
    """

    name: str
    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def has(self, name: str) -> bool:
        """Whether there is an input ``in.<name>``."""
        return f"in.{name}" in self.tensors

    def input(self, name: str) -> Tensor:
        """Return ``in.<name>``."""
        if not self.has(name):
            raise UserError(f"the case has no tensor in.{name}")
        return self.tensors[f"in.{name}"]

    def inputs(self, name: str) -> list[Tensor]:
        """Return ``in.<name>.0``, ``in.<name>.1``, ...; empty if there are none."""
        found = []
        while self.has(f"{name}.{len(found)}"):
            found.append(self.input(f"{name}.{len(found)}"))
        return found

    def outputs(self) -> dict[str, Tensor]:
        """Return all ``out.*`` that must be met; ``out.batched.*`` come from a known defect of the published code."""
        return {
            name.removeprefix("out."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith("out.") and not name.startswith("out.batched.")
        }

    def parameters(self) -> dict[str, Tensor]:
        """Return the weights by official key; sparsely stored ones are filled up with zeros."""
        dense = {key.removeprefix("param."): tensor for key, tensor in self.tensors.items() if key.startswith("param.")}
        for key, options in self.meta.get("sparse_params", {}).items():
            index = self.tensors[f"param_rows.{key}.index"]
            value = self.tensors[f"param_rows.{key}.value"]
            dense[key] = value.new_zeros(options["shape"]).index_copy(0, index, value)
        return dense

    def split(self, prefix: str) -> tuple[dict[str, Tensor], Case]:
        """Return the weights whose keys begin with ``prefix``, without it, and the case without them."""
        found = {key.removeprefix(prefix): value for key, value in self.parameters().items() if key.startswith(prefix)}
        sparse = self.meta.get("sparse_params", {})
        meta = self.meta | {"sparse_params": {key: sparse[key] for key in sparse if not key.startswith(prefix)}}
        rest = {key: value for key, value in self.tensors.items() if not key.startswith(f"param.{prefix}")}
        return found, replace(self, meta=meta, tensors=rest)

    def load_into(self, **parts: nn.Module) -> None:
        """Load the weights into the named parts of a model and put them in evaluation mode.

        Args:
            parts: modules by the first part of their official keys, such as ``psm=...``.

        Raises:
            RuntimeError: a key is missing, unexpected or of another shape.
        """
        model = nn.ModuleDict(parts)
        weights = self.parameters()
        # Constants that a case stores although the module does not save them.
        for name, buffer in model.named_buffers():
            published = name.replace(".policy.", ".")
            if published in weights and published not in model.state_dict():
                buffer.copy_(weights.pop(published))
        model.load_state_dict(weights, strict=True)
        model.eval()


Compute = Callable[[Case], Results]


@dataclass(frozen=True)
class Kind:
    """How cases of one kind are computed, and how far a number may be off.

    Attributes:
        compute: case -> pairs of name and value; every ``out.*`` of the case must be among them.
        tolerance: largest absolute difference.
    """

    compute: Compute
    tolerance: float


KINDS: dict[str, Kind] = {}


def golden_kind(*prefixes: str, tolerance: float = 1e-4) -> Callable[[Compute], Compute]:
    """Register a function for the cases whose kind starts with one of the prefixes."""

    def register(compute: Compute) -> Compute:
        KINDS.update((prefix, Kind(compute, tolerance)) for prefix in prefixes)
        return compute

    return register


def find_kind(name: str, meta: dict[str, Any]) -> Kind | None:
    """Return the kind that the JSON's ``case`` names or else the file name begins with; None: not supported."""
    for text in (str(meta.get("case", "")), name):
        prefix = max((prefix for prefix in KINDS if text.startswith(prefix)), key=len, default=None)
        if prefix is not None:
            return KINDS[prefix]
    return None


def read_meta(path: Path) -> dict[str, Any]:
    """Read ``NAME.json``.

    Raises:
        UserError: the file is missing or not a JSON object.
    """
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path.name} is missing beside {path.stem}.safetensors") from error
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise UserError(f"{path.name} is not a JSON object")
    return meta


def read_case(path: Path) -> Case:
    """Read ``NAME.json`` and ``NAME.safetensors``.

    Raises:
        UserError: a file is missing or damaged.
    """
    meta = read_meta(path)
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        raise UserError(f"{weights.name} is missing beside {path.name}")
    try:
        tensors = load_file(weights)
    except Exception as error:  # safetensors has only one error class, a direct subclass of Exception
        raise UserError(f"{weights.name} cannot be read: {error}") from error
    return Case(path.stem, meta, {name: tensor.contiguous() for name, tensor in tensors.items()})
