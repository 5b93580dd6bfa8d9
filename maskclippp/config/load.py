"""Config files and overrides -> one checked config: known keys only, right types, all complaints of a file at once."""

from __future__ import annotations

import itertools
import os
from ast import literal_eval
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from maskclippp.utils.errors import UserError, as_line, did_you_mean, nearest, show
from maskclippp.utils.paths import find_config, resolve, shipped_configs

from .combinations import complaints_together
from .defaults import default_config
from .nodes import TABLE
from .safe_yaml import MAX_NUMBER, Setting, read_settings

COMMAND_LINE = "command line"
MAX_SHOWN = 80
MAX_LITERAL = 10_000
"""Longer text is no literal: Python's parser does not bear any nesting."""
MAX_LISTED = 2000


def load_config(path: str | Path = "", overrides: Sequence[str] = ()) -> CfgNode:
    """Return the defaults, changed by the file at ``path`` (and what its ``_BASE_`` names), changed by ``overrides``.

    ``_BASE_`` is one file or a list of files, relative to the file that names them; later ones win. Everywhere a name
    that begins with ``configs/`` stands for the project's own file if there is none at that place.

    Args:
        path: a YAML file, relative to the working folder. Empty: defaults only.
        overrides: ``["KEY", "VALUE", ...]`` as on the command line; values are Python literals or plain strings.

    Raises:
        UserError: missing file, YAML that is refused, unknown keys, values of a wrong type or out of range.
    """
    cfg = default_config()
    if str(path):
        for file in inheritance(path):
            _apply(cfg, [s for s in read_settings(file) if s.key != "_BASE_"], str(file))
    _apply(cfg, _pair_up(overrides), COMMAND_LINE)
    return cfg


def check_config(cfg: CfgNode) -> None:
    """Check the values of a whole config, which a base file is not, against each other.

    Raises:
        UserError: some do not go together.
    """
    _refuse(complaints_together(cfg), "config")


def inheritance(path: str | Path) -> list[Path]:
    """Return the files that make up a config in the order in which they apply, the file at ``path`` last.

    Raises:
        UserError: missing file, YAML that is refused, or a ``_BASE_`` that leads back to its own file.
    """
    return _base_first(_find(str(path), Path(), COMMAND_LINE), visited=())


def _base_first(path: Path, visited: tuple[Path, ...]) -> list[Path]:
    path = path.resolve()
    if path in visited:
        raise UserError(f"{visited[-1]}: _BASE_ leads back to {path}; remove the circle")
    base = next((s for s in read_settings(path) if s.key == "_BASE_"), None)
    if base is None:
        return [path]
    names = base.value if isinstance(base.value, list) else [base.value]
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{base.where}: _BASE_ must be a file name or a list of them, got {_show(base.value)}")
    files = [_find(name, path.parent, base.where) for name in names]
    return [*itertools.chain.from_iterable(_base_first(file, (*visited, path)) for file in files), path]


def _find(name: str, folder: Path, named_in: str) -> Path:
    found = find_config(name, folder)
    if found is not None:
        return found
    path = folder / resolve(name)
    listed = path.parent.glob("*.yaml") if os.path.isdir(path.parent) else ()
    beside = {file.name: str(file) for file in itertools.islice(listed, MAX_LISTED)}
    own = shipped_configs()
    shipped = {file.name: str(file.relative_to(own.parent)) for file in own.rglob("*.yaml")}
    similar = [(shipped | beside)[close] for close in nearest(path.name, shipped | beside)]
    hint = f"; did you mean {', '.join(similar)}?" if similar else ""
    raise UserError(f"{named_in}: there is no config file {path}{hint}")


def _pair_up(overrides: Sequence[str]) -> list[Setting]:
    if len(overrides) % 2:
        raise UserError(f"{COMMAND_LINE}: overrides must be KEY VALUE pairs, '{overrides[-1]}' has no value")
    return [Setting(key, value, COMMAND_LINE) for key, value in zip(overrides[::2], overrides[1::2], strict=True)]


def _apply(cfg: CfgNode, settings: Iterable[Setting], source: str) -> None:
    complaints = []
    for setting in settings:
        try:
            _set(cfg, setting)
        except ValueError as error:
            complaints.append(f"{setting.where}: {error}")
    _refuse(complaints, source)


def _refuse(complaints: Sequence[str], source: str) -> None:
    """Tell all complaints at once."""
    if len(complaints) == 1:
        raise UserError(complaints[0])
    if complaints:
        raise UserError(f"{source}: {len(complaints)} problems", details=complaints)


def _set(cfg: CfgNode, setting: Setting) -> None:
    *parents, leaf = setting.key.split(".")
    node: Any = cfg
    for name in parents:
        node = node.get(name) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or leaf not in node:
        raise ValueError(f"unknown key {as_line(setting.key, MAX_SHOWN)}{did_you_mean(setting.key, list_keys(cfg))}")
    if isinstance(node[leaf], CfgNode):
        if setting.value != {}:
            raise ValueError(f"{setting.key} is a section of keys, got {_show(setting.value)}")
        return
    value = coerce(setting.key, setting.value, default=node[leaf])
    TABLE[setting.key].check(value)
    node[leaf] = value


def list_keys(cfg: CfgNode, prefix: str = "") -> list[str]:
    """Return the full names of all values in ``cfg``."""
    keys = []
    for name, value in cfg.items():
        keys += list_keys(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else [f"{prefix}{name}"]
    return keys


def get_value(cfg: CfgNode, key: str) -> Any:
    """Return the value under a full name."""
    return reduce(getitem, key.split("."), cfg)


def coerce(key: str, value: Any, *, default: Any) -> Any:
    """Return ``value`` as the type of ``default``; strings are read as Python literals where the key is not text.

    An int may stand for a float, a list for a tuple (and the reverse), a string for a sequence of one string, and null
    for text, for keys whose default is null and for those that say so.

    Raises:
        ValueError: another type.
    """
    value = _literal(value, keep_text=isinstance(default, str))
    if _has_huge_number(value):
        raise ValueError(f"{key} has a number of more than 64 bits")
    if default is None and not isinstance(value, (type(None), str, int, float, list, tuple)):
        raise ValueError(f"{key} must be a text, a number or a list, got {_show(value)}")
    if default is None or (value is None and (isinstance(default, str) or TABLE[key].nullable)):
        return value
    if isinstance(default, (list, tuple)):
        return _coerce_sequence(key, value, default)
    if type(default) is float and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{key} must be {type(default).__name__} (default {default!r}), got {_show(value)}")
    return value


def _coerce_sequence(key: str, value: Any, default: list[Any] | tuple[Any, ...]) -> list[Any] | tuple[Any, ...]:
    kinds = {_kind(item) for item in default}
    if isinstance(value, str) and kinds <= {"str"}:
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{key} must be a list (default {show(default)}), got {_show(value)}")
    kind = kinds.pop() if len(kinds) == 1 else None
    for index, item in enumerate(value):
        if kind is not None and _kind(item) != kind:
            raise ValueError(f"{key}[{index}] must be a {kind} (default {show(default)}), got {_show(item)}")
    inner = type(default[0]) if kind == "list" else None
    return type(default)(inner(item) if inner else item for item in value)


def _literal(value: Any, *, keep_text: bool) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > MAX_LITERAL:
        return value
    try:
        decoded = literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value
    return value if keep_text and not isinstance(decoded, str) and decoded is not None else decoded


def _has_huge_number(value: Any) -> bool:
    if isinstance(value, (list, tuple, set)):
        return any(map(_has_huge_number, value))
    return isinstance(value, int) and abs(value) >= MAX_NUMBER


def _kind(item: Any) -> str:
    return {int: "number", float: "number", tuple: "list"}.get(type(item), type(item).__name__)


def _show(value: Any) -> str:
    return f"{type(value).__name__} {show(value)}"
