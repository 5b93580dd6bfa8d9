"""Hold values against the stored ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskclippp.utils.errors import UserError

METRIC_TOLERANCE = 1e-9
# Four units in the last place of float32: stored logits of 20 are themselves 7e-6 off the result in float64, and what
# ours is off by depends on the processor.
ROUNDING = 4 * 2**-23
HALF_ROUNDING = 2**-11


@dataclass(frozen=True)
class Tolerance:
    """Largest difference: ``absolute + relative * |expected|``; integers, booleans and counts must be equal."""

    absolute: float
    relative: float = 0.0

    @classmethod
    def of_case(cls, stated: Any, default: float, name: str) -> Tolerance:
        """Read the JSON's ``tolerance``: a number; one per output; or {"atol", "rtol"}, with "grad_" for gradients.

        Raises:
            UserError: it is written in another way.
        """
        if stated is None:
            return cls(default, ROUNDING)
        if isinstance(stated, Mapping):
            prefix = "grad_" if "grad" in name and "grad_atol" in stated else ""
            if {"atol", "rtol"} & set(stated):
                return cls(float(stated.get(f"{prefix}atol", 0.0)), float(stated.get(f"{prefix}rtol", 0.0)))
            stated = stated.get(name, stated.get(f"out.{name}", default))
        if not isinstance(stated, (int, float)):
            raise UserError(f"the tolerance {stated!r} is not understood; write a number, or atol and rtol")
        return cls(float(stated))


@dataclass(frozen=True)
class Difference:
    """How far one value is off.

    Attributes:
        absolute: largest absolute difference.
        relative: the same as a part of the largest expected magnitude.
        problem: what is wrong; None if all is well.
    """

    absolute: float
    relative: float
    problem: str | None


def compare_tensors(name: str, actual: Tensor, expected: Tensor, tolerance: Tolerance) -> Difference:
    """Compare shapes and numbers; integers and booleans must be equal.

    Empty tensors need only the same number of dimensions: the published code gives images without masks fewer columns.
    What is stored in float16 may also be off by its rounding.
    """
    if actual.numel() == expected.numel() == 0 and actual.dim() == expected.dim():
        return Difference(0.0, 0.0, None)
    if actual.shape != expected.shape:
        problem = f"out.{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        return Difference(math.inf, math.inf, problem)
    exact = not (expected.is_floating_point() and actual.is_floating_point())
    ours, theirs = actual.detach().double(), expected.double()
    off = (ours - theirs).abs()
    off[(ours == theirs) | (ours.isnan() & theirs.isnan())] = 0.0
    off = off.nan_to_num(nan=math.inf)
    stored = tolerance.relative + (HALF_ROUNDING if expected.dtype == torch.float16 else 0.0)
    limit = torch.zeros_like(off) if exact else tolerance.absolute + stored * theirs.abs().nan_to_num()
    wrong = int((off > limit).sum())
    largest = float(off.max())
    scale = float(theirs[theirs.isfinite()].abs().max()) if theirs.isfinite().any() else 0.0
    relative = largest / scale if scale else (0.0 if largest == 0.0 else math.inf)
    problem = f"out.{name}: {wrong} of {off.numel()} values differ" if wrong else None
    return Difference(largest, relative, problem)


def compare_values(key: str, actual: Any, expected: Any) -> Difference:
    """Compare JSON values: numbers to 1e-9, null is not-a-number, all else exactly; extra names are no fault."""
    worst = Difference(0.0, 0.0, None)
    for place, ours, theirs in _pairs(key, actual, expected):
        difference = _compare_scalar(place, ours, theirs)
        if worst.problem is None and (difference.problem or difference.absolute > worst.absolute):
            worst = difference
    return worst


_MISSING = object()


def _pairs(place: str, actual: Any, expected: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        members = [(f"{place}[{key!r}]", actual.get(key, _MISSING), value) for key, value in expected.items()]
    elif _is_list(expected) and _is_list(actual) and len(actual) == len(expected):
        members = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(actual, expected, strict=True))]
    else:
        return [(place, actual, expected)]
    return [pair for member in members for pair in _pairs(*member)]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _compare_scalar(place: str, actual: Any, expected: Any) -> Difference:
    number = isinstance(expected, float) or (isinstance(expected, int) and not isinstance(expected, bool))
    if actual is _MISSING:
        return Difference(math.inf, math.inf, f"{place} was not computed")
    if expected is None and isinstance(actual, float) and math.isnan(actual):
        return Difference(0.0, 0.0, None)
    if number and isinstance(actual, (int, float)):
        off = abs(actual - expected)
        wrong = not off <= METRIC_TOLERANCE
        relative = off / abs(expected) if expected else off
        return Difference(off, relative, f"{place} is {actual}, expected {expected}" if wrong else None)
    if actual == expected:
        return Difference(0.0, 0.0, None)
    return Difference(math.inf, math.inf, f"{place} is {actual!r}, expected {expected!r}")
