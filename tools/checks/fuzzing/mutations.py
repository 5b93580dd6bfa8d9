"""Small damage to good inputs: to the structure of JSON and YAML, to text, and to bytes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

DEEP, DIGITS = "@@deep@@", "@@digits@@"
_RAW = {f'"{DEEP}"': "[" * 100_000 + "]" * 100_000, f'"{DIGITS}"': "9" * 5000}

STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    255,
    65536,
    2_000_000_000,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    1e8,
    1e308,
    -1e-320,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "1",
    "0001",
    " ",
    "a\nb\r\n\x1b[31mc",
    "\x00",
    "\ud800",
    "\u202e\u2028name",
    "n" * 5000,
    "x/" * 3000,
    "../../../../etc/passwd",
    "/dev/zero",
    "/dev/null",
    "~nobody-at-all/x",
    "{stem}.jpg",
    "%s%n{0.__class__}",
    [],
    {},
    [[]],
    [[], [[]], {}],
    [None, None],
    [1, 2, 3],
    [0.5] * 5,
    [[1, 2, 3, 4, 5, 6]],
    {"id": 1},
    {"size": [4, 4], "counts": "0"},
    {"size": [2**31, 2**31], "counts": [2**62]},
    {"size": [16, 16], "counts": [256]},
    DEEP,
    DIGITS,
)


def damage_tree(rng: random.Random, tree: Any) -> Any:
    """Return a copy of nested lists and dicts with one to four changes."""
    tree = [copy.deepcopy(tree)]  # so that the root has a parent too
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            break
        parent, key = rng.choice(places)
        rng.choice(_CHANGES)(rng, parent, key, places)
    return tree[0] if tree else None


def json_text(tree: Any) -> str:
    """Return a tree as JSON (NaN and Infinity included), its markers replaced by what Python cannot hold or print."""
    text = json.dumps(tree)
    for marker, raw in _RAW.items():
        text = text.replace(marker, raw)
    return text


def damage_text(rng: random.Random, text: str) -> str:
    """Return text with some of its lines or characters changed."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(lines))
        line = lines[place]
        cut = rng.randrange(len(line) + 1)
        lines[place : place + 1] = rng.choice(
            (
                [],
                [line, line],
                [line[:cut]],
                [line[:cut] + rng.choice(_PIECES) + line[cut:]],
                [line.replace("\t", " ")],
                [line.swapcase()],
                [f" {line}"],
                [rng.choice(_PIECES)],
                [line[:5000] * 200],
            )
        )
        if not lines:
            return ""
    return "\n".join(lines)


def damage_bytes(rng: random.Random, content: bytes) -> bytes:
    """Return content with flipped, cut, doubled, foreign or missing bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 200))
        action = rng.randrange(6)
        if action <= 1 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif action == 2:
            data[place : place + length] = rng.randbytes(length)
        elif action == 3:
            data[place : place + length] = rng.choice((b"\x00", b"\xff", b"\x7f")) * length
        elif action == 4:
            data[place:place] = data[max(0, place - length) : place]
        elif action == 5:
            del data[place : place + rng.choice((1, length, len(data)))]
    return bytes(data)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) below a tree."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            yield node, key
            if isinstance(value, dict | list):
                waiting.append(value)


def _alive(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _replace(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    parent[key] = copy.deepcopy(rng.choice(STRANGE))


def _delete(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    del parent[key]


def _double(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    value, times = parent[key], rng.choice((1, 1, 3, 300))
    if isinstance(parent, list):
        parent[key:key] = [copy.deepcopy(value) for _ in range(times if len(repr(value)) < 1000 else 1)]
    elif isinstance(value, list):
        parent[key] = value * 2


def _retype(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    value = parent[key]
    choices: list[Callable[[], Any]] = [lambda: [value], lambda: {"0": value}, lambda: str(value)]
    if isinstance(value, int | float):
        choices += [
            lambda: -value,
            lambda: value / 2 if abs(value) < 1e9 else 0.5,
            lambda: value + 1,
            lambda: value * 1000,
            lambda: bool(value),
        ]
    if isinstance(value, dict):
        choices += [lambda: list(value.values()), lambda: list(value)]
    if isinstance(value, list):
        choices += [lambda: dict(enumerate(value)), lambda: value[::-1], lambda: value[:1]]
    parent[key] = rng.choice(choices)()


def _swap(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    other, other_key = rng.choice(places)
    if _alive(other, other_key):
        mine, theirs = copy.deepcopy(parent[key]), copy.deepcopy(other[other_key])
        parent[key] = theirs
        if _alive(other, other_key):
            other[other_key] = mine


def _rename(rng: random.Random, parent: Any, key: Any, places: list) -> None:
    if isinstance(parent, dict):
        parent[rng.choice(("id", "name", str(key).upper(), f"{key} ", "", "\n"))] = parent.pop(key)


def _if_alive(change: Callable) -> Callable:
    return lambda rng, parent, key, places: change(rng, parent, key, places) if _alive(parent, key) else None


_CHANGES = [_if_alive(change) for change in (_replace, _replace, _replace, _delete, _double, _retype, _swap, _rename)]
_PIECES = (
    "\t",
    ",",
    ";",
    ":",
    "#",
    "'",
    '"',
    "[",
    "{",
    "- ",
    "? ",
    "&a [*a]",
    "*a",
    "\x00",
    "\x85",
    "\u2028",
    "\ufeff",
    "é",
    "9" * 5000,
    "[" * 5000,
    "- " * 3000,
    "0x" + "f" * 5000,
    "2000000000",
    "-1",
    ".nan",
    "null",
    "!!bool x",
    "!!float ''",
    "!!int ''",
    "!!timestamp x",
    "!!set {a}",
    "!!binary aGk=",
    "%TAG ! x",
    "--- ",
)
