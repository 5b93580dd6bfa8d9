"""Check the golden cases of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor

from maskclippp.utils.errors import UserError

from .case import Case, Kind, find_kind, read_case, read_meta
from .compare import Difference, Tolerance, compare_tensors, compare_values


@dataclass(frozen=True)
class Report:
    """The verdict on one case.

    Attributes:
        name: of the case.
        verdict: "PASS", "FAIL" or "UNSUPPORTED".
        absolute, relative: largest differences, see :class:`Difference`; None if nothing could be compared.
        reason: of a failure, one line.
    """

    name: str
    verdict: str
    absolute: float | None = None
    relative: float | None = None
    reason: str = ""

    def __str__(self) -> str:
        """``NAME max_abs max_rel VERDICT [reason]``."""
        numbers = ("-" if value is None else f"{value:.3g}" for value in (self.absolute, self.relative))
        return " ".join([self.name, *numbers, self.verdict, self.reason]).rstrip()


def check_folder(folder: str | Path, only: str = "*") -> Iterator[Report]:
    """Check every case of a folder, in the order of names.

    Args:
        folder: has ``NAME.json`` and ``NAME.safetensors``.
        only: a part of the name, or a pattern with ``*`` and ``?`` for the whole name.

    Raises:
        UserError: no folder, or no such case in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one with the NAME.json and NAME.safetensors files")
    pattern = only if set(only) & set("*?[") else f"*{only}*"
    names = {path.stem for path in folder.iterdir() if path.suffix in (".json", ".safetensors")}
    chosen = sorted(name for name in names if fnmatch(name, pattern))
    if not chosen:
        raise UserError(f"{folder} has no case that matches '{only}' ({len(names)} cases there)")
    return (check_case(folder / f"{name}.json") for name in chosen)


def check_case(path: str | Path) -> Report:
    """Check the case whose JSON is at ``path``; whatever goes wrong in it is a failure with its reason."""
    path = Path(path)
    try:
        if not path.is_file() and find_kind(path.stem, {}) is None:
            return Report(path.stem, "UNSUPPORTED")
        kind = find_kind(path.stem, read_meta(path))
        if kind is None:
            return Report(path.stem, "UNSUPPORTED")
        with _one_thread():
            return _report(path.stem, _differences(read_case(path), kind))
    except Exception as error:  # one bad case must not end the run
        return Report(path.stem, "FAIL", reason=f"{type(error).__name__}: {' '.join(str(error).split())}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in the order of the stored results: heads are held to 5e-6 after factors up to 100."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _report(name: str, differences: list[Difference]) -> Report:
    absolute = max((difference.absolute for difference in differences), default=None)
    relative = max((difference.relative for difference in differences), default=None)
    problems = [difference.problem for difference in differences if difference.problem]
    if not differences:
        problems = ["the case has nothing to compare"]
    return Report(name, "FAIL" if problems else "PASS", absolute, relative, "; ".join(problems[:3]))


def _differences(case: Case, kind: Kind) -> list[Difference]:
    torch.manual_seed(0)
    differences, compared = [], set()
    for name, value in kind.compute(case):
        difference = _compare(case, kind, name, value)
        if difference is not None:
            differences.append(difference)
            compared.add(name)
    missed = [f"out.{name}" for name in case.outputs() if name not in compared]
    if "expected" in case.meta and "json.expected" not in compared:
        missed.append("the JSON's expected")
    if missed:
        differences.append(Difference(0.0, 0.0, f"never compared: {', '.join(missed)}"))
    return differences


def _compare(case: Case, kind: Kind, name: str, value: object) -> Difference | None:
    """Compare one computed value; None if the case says nothing about it."""
    key = name.removeprefix("json.")
    if key != name:
        return compare_values(key, value, case.meta[key]) if key in case.meta else None
    expected = case.outputs().get(name)
    if expected is None:
        return None
    assert isinstance(value, Tensor), f"{name} is a {type(value).__name__}"
    return compare_tensors(name, value, expected, Tolerance.of_case(case.meta.get("tolerance"), kind.tolerance, name))
