"""What the value of a key must fulfil beyond its type: ranges, lengths, words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

MANY = 10**9
PIXELS = 100_000


@dataclass(frozen=True)
class Rule:
    """A condition on values.

    Attributes:
        text: the condition, for the table of keys.
        check: called with the name of the key and a value; raises ValueError with a line that names the key.
    """

    text: str
    check: Callable[[str, Any], None]


def at_least(least: float, most: float = MANY) -> tuple[Rule, ...]:
    """Every number is ``least`` to ``most``."""
    return (_range(least, most, open_below=False),)


def above(least: float, most: float = math.inf) -> tuple[Rule, ...]:
    """Every number is greater than ``least``, and at most ``most``."""
    return (_range(least, most, open_below=True),)


def _range(least: float, most: float, *, open_below: bool) -> Rule:
    low = f"above {least}" if open_below else f"at least {least}"
    text = low if math.isinf(most) else f"{low} and at most {most}"

    def check(key: str, value: Any) -> None:
        for number in numbers(value):
            if not ((number > least if open_below else number >= least) and number <= most):
                raise ValueError(f"{key} must be {text}, got {number!r}")

    return Rule(text, check)


def length(least: int, most: int = MANY) -> tuple[Rule, ...]:
    """A list has ``least`` to ``most`` items."""
    wanted = f"{least} values" if least == most else f"at least {least} value"

    def check(key: str, value: Any) -> None:
        if not least <= len(value) <= most:
            raise ValueError(f"{key} must have {wanted}, got {value!r}")

    return (Rule(wanted, check),)


def words(*valid: str) -> tuple[Rule, ...]:
    """A text is one of ``valid``."""
    listed = f"{', '.join(valid[:-1])} or {valid[-1]}"

    def check(key: str, value: Any) -> None:
        if value not in valid:
            raise ValueError(f"{key} must be {listed}, got {value!r}")

    return (Rule(listed, check),)


def _check_names(key: str, value: Any) -> None:
    if not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{key} must be a list of names, got {value!r}")


def _check_expected(key: str, rows: Any) -> None:
    for index, row in enumerate(rows):
        fits = isinstance(row, (list, tuple)) and len(row) in (4, 5)
        fits = fits and all(isinstance(each, str) for each in row[:-2])
        if not fits or not all(type(each) in (int, float) for each in row[-2:]):
            raise ValueError(f"{key}[{index}] must be [task, metric, value, tolerance], got {row!r}")


NAMES = (Rule("a list of names", _check_names),)
EXPECTED_RESULTS = (
    Rule("a list of [task, metric, value, tolerance], the dataset in front if wanted", _check_expected),
)


def numbers(value: Any) -> Iterator[float]:
    """The numbers in a value, nested lists included; a bool is none."""
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from numbers(each)
    elif type(value) in (int, float):
        yield value
