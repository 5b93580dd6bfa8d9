"""Config files and overrides."""

from __future__ import annotations

import random
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from maskclippp.config import default_config, load_config
from maskclippp.config.load import get_value, list_keys

from .case import Case, Surroundings
from .mutations import DEEP, DIGITS, STRANGE, damage_bytes, damage_text, damage_tree

_TAGS = (
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/apply:eval [\"open('{canary}', 'w')\"]",
    "!!python/object/apply:eval [\"__import__('os').system('touch {canary}')\"]",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object/apply:eval ['[x for x in range(10**9)]']",
    "!!python/object/apply:eval ['9**9**9']",
    "!!python/object/apply:eval ['[[[[' ]",
)
_BASES = (
    "/dev/zero",
    ".",
    "c.yaml",
    "x/" * 3000,
    "missing.yaml",
    "[c.yaml, c.yaml]",
    "null",
    "~nobody-at-all/x",
    "'\\0'",
)
_TEXTS = ("(" * 5000, "-" * 5000 + "1", "[" * 300, "0x" + "f" * 5000, "9" * 5000, "{[]: 1}", "1+'a'", "b'x'", "1e999")


def config_case(around: Surroundings) -> Case:
    """A damaged config file, a damaged override, or both."""
    rng, path = around.rng, around.folder / "c.yaml"
    keys = list_keys(default_config())
    if rng.random() < 0.3:
        overrides = _overrides(rng, keys)
        return Case(lambda: load_config("", overrides).dump(), ("command line",))
    content = _file(rng, keys, str(around.canary))
    path.write_bytes(content)
    overrides = _overrides(rng, keys) if rng.random() < 0.1 else []
    return Case(lambda: _load(path, overrides), ("c.yaml", "command line"))


def _load(path: Path, overrides: list[str]) -> str:
    return load_config(path, overrides).dump()


def _file(rng: random.Random, keys: list[str], canary: str) -> bytes:
    kind = rng.random()
    text = yaml.safe_dump(_settings(rng, keys))
    if kind < 0.4:
        tree = damage_tree(rng, _settings(rng, keys))
        text = yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5)
        text = text.replace(f"'{DEEP}'", "[" * 3000 + "]" * 3000).replace(f"'{DIGITS}'", "9" * 5000)
    elif kind < 0.65:
        text = damage_text(rng, text)
    elif kind < 0.8:
        return damage_bytes(rng, text.encode())
    elif kind < 0.9:
        text = f"WANDB:\n  NAME: {rng.choice(_TAGS).format(canary=canary)}\n{text}"
    else:
        text = f"_BASE_: {rng.choice(_BASES)}\n{text}"
    return text.encode("utf-8", "surrogatepass")


def _settings(rng: random.Random, keys: list[str]) -> dict:
    """A good nested config of some random keys."""
    tree: dict = {}
    defaults = default_config()
    for key in rng.sample(keys, 12):
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        value = get_value(defaults, key)
        node[leaf] = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, CfgNode) else value
    return tree


def _overrides(rng: random.Random, keys: list[str]) -> list[str]:
    pairs: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 40))):
        key = rng.choice(keys)
        key = rng.choice((key, key, key, key.lower(), f"{key}.X", key[: len(key) // 2], "", "\n", "K" * 5000))
        value = rng.choice((*STRANGE, *_TEXTS))
        pairs += [key, value if isinstance(value, str) else repr(value) if value != 10**400 else "9" * 400]
    return pairs[: rng.choice((len(pairs), len(pairs), len(pairs) - 1))]
