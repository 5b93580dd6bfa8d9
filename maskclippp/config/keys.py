"""One row of the table of config keys: name, default, meaning, valid values, status; and the check of a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from maskclippp.utils.errors import show

from .rules import Rule, numbers

Status = Literal["read", "ignored", "fixed"]

_MAX_LISTED = 5


@dataclass(frozen=True)
class Key:
    """A config key.

    Attributes:
        name: full name with dots.
        default: its value where no file sets it; its type is the type of the key.
        meaning: what it does, in what unit.
        valid: what a value must fulfil besides; all numbers must be finite anyway.
        status: "read": a part of the program reads it. "ignored": published files carry it, and nothing reads it.
            "fixed": only one way is built. Of the last two, only the default and the ``published`` values are accepted.
        published: values that published files set.
        nullable: null has a meaning of its own although the default is no null.
    """

    name: str
    default: Any
    meaning: str
    valid: tuple[Rule, ...] = ()
    status: Status = "read"
    published: tuple[Any, ...] = ()
    nullable: bool = False

    @property
    def values(self) -> str:
        """What a value may be, for people."""
        if self.status != "read":
            return "only " + _listed(self._accepted)
        return "; ".join(rule.text for rule in self.valid)

    @property
    def _accepted(self) -> list[Any]:
        return [self.default, *(value for value in self.published if value != self.default)]

    def check(self, value: Any) -> None:
        """Check a value of the right type.

        Raises:
            ValueError: not finite, not valid, or a value that would have no effect.
        """
        for number in numbers(value):
            if not math.isfinite(number):
                raise ValueError(f"{self.name} must be finite, got {number!r}")
        for rule in self.valid:
            rule.check(self.name, value)
        if self.status == "read" or value in self._accepted:
            return
        if self.status == "fixed":
            raise ValueError(f"{self.name} {show(value)} is not supported; only {_listed(self._accepted)} is")
        raise ValueError(
            f"{self.name} {show(value)} would have no effect: nothing reads this key; leave it out, or at "
            f"{_listed(self._accepted)} as in published files"
        )


def under(node: str, *keys: Key, **changes: Any) -> tuple[Key, ...]:
    """Put ``node`` and a dot before the names of ``keys``; ``changes`` apply to all of them."""
    return tuple(replace(key, name=f"{node}.{key.name}", **changes) for key in keys)


def _listed(values: list[Any]) -> str:
    shown = [show(value) for value in values[:_MAX_LISTED]]
    return " or ".join([*shown, "..."] if len(values) > _MAX_LISTED else shown)
