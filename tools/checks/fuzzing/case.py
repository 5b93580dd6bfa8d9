"""One input: the files it is made of, how they are read, and how that may end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from maskclippp.utils.errors import MAX_LINE, UserError

GOOD = ("read", "refused")
"""How an input may end. All else is a finding."""


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        read: reads it; may raise nothing but UserError.
        names: parts of which at least one must stand in the message; empty: anything may.
    """

    read: Callable[[], object]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a maker of cases works with.

    Attributes:
        rng: all choices come from it.
        folder: empty, for the files of this case.
        canary: a file that hostile content would make if its code ran.
    """

    rng: random.Random
    folder: Path
    canary: Path


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        verdict: "read", "refused", "traceback", "message" (not one line that names the file), "code run", "crash" or
            "hang".
        text: the message or the traceback.
    """

    verdict: str
    text: str = field(default="", compare=False)


def judge(error: UserError, names: tuple[str, ...]) -> Outcome:
    """Look at a refusal: one line of printable text, of bounded length, that names the file.

    A config file may list its complaints in lines of their own, which are indented.
    """
    text = str(error)
    first, *more = text.split("\n")
    problems = [
        "nothing is said" * (not first.strip()),
        "several lines" * any(not line.startswith("  ") for line in more),
        "a long line" * any(len(line) > MAX_LINE + 2 for line in (first, *more)),
        "unprintable characters" * (not text.replace("\n", "").isprintable() and not _blanks_only(text)),
        "a traceback" * ("Traceback" in text),
        "unsafe advice" * ("weights_only" in text),
        "no file named" * bool(names and not any(name in text for name in names)),
    ]
    found = ", ".join(filter(None, problems))
    return Outcome("message", f"{found}: {text}") if found else Outcome("refused", text)


def _blanks_only(text: str) -> bool:
    """Whether what is not printable are blanks of other alphabets and joiners, which terminals bear."""
    return all(each.isprintable() or each == "\n" or ord(each) > 0xA0 for each in text)
