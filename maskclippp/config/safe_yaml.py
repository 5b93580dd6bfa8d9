"""YAML files -> settings with their line numbers, without ever running what a tag asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskclippp.utils.errors import UserError, first_line, show
from maskclippp.utils.files import read_text

from .arithmetic import evaluate_arithmetic

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 30
EVAL_TAG = "tag:yaml.org,2002:python/object/apply:eval"
MAX_NUMBER = 2**63
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp")}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setting:
    """One value of a config file.

    Attributes:
        key: full name with dots, ``MODEL.MASKCLIPPP.TEMPLATES``.
        value: number, string, bool, None, list, or an empty dict for a section without keys.
        where: ``FILE:LINE``, or the command line, for messages.
    """

    key: str
    value: Any
    where: str


def read_settings(path: Path) -> list[Setting]:
    """Read a YAML file of nested sections; of a key given twice the last value counts, as with PyYAML.

    Raises:
        UserError: not YAML, too large, not a mapping at the top, or a tag other than the plain ones and list arithmetic
            (:func:`maskclippp.config.arithmetic.evaluate_arithmetic`).
    """
    root = _compose(path)
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1: a config file must be 'KEY: value' lines, found a {root.id}")
    settings: dict[str, Setting] = {}
    for setting in _Reader(path).mapping(root, prefix="", depth=0):
        if setting.key in settings:
            logger.warning("%s: %s is given twice; this value counts", setting.where, setting.key)
        settings[setting.key] = setting
    return list(settings.values())


def _compose(path: Path) -> yaml.Node | None:
    text = read_text(path, MAX_FILE_BYTES)
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid YAML: it is nested too deeply") from None
    # PyYAML meets damaged text with errors of other kinds as well.
    except Exception as error:
        raise UserError(f"{path}: not valid YAML: {first_line(error)}") from None


class _Reader:
    """Turns composed nodes into values. Counts them, because aliases can multiply a small file without end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def mapping(self, node: yaml.MappingNode, prefix: str, depth: int) -> Iterator[Setting]:
        self._visit(node, depth)
        self._refuse_tag(node, {"tag:yaml.org,2002:map"})
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"{self._where(key_node)}: a key must be a plain name")
            key = f"{prefix}{key_node.value}"
            if isinstance(value_node, yaml.MappingNode) and value_node.value:
                yield from self.mapping(value_node, f"{key}.", depth + 1)
            else:
                yield Setting(key, self._value(value_node, depth + 1), self._where(key_node))

    def _value(self, node: yaml.Node, depth: int) -> Any:
        self._visit(node, depth)
        if node.tag == EVAL_TAG:
            return self._arithmetic(node)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, {"tag:yaml.org,2002:seq"})
            return [self._value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node, {"tag:yaml.org,2002:map"})
            if node.value:
                raise UserError(f"{self._where(node)}: a section inside a list is not understood")
            return {}
        self._refuse_tag(node, PLAIN_TAGS)
        try:
            value = self._scalars.construct_object(node)
            if isinstance(value, int) and abs(value) >= MAX_NUMBER:
                raise ValueError("too large")
        # PyYAML's own conversions fail in many ways on a tag that does not fit the text behind it.
        except Exception:
            raise UserError(f"{self._where(node)}: {show(node.value)} is not a valid {node.tag[18:]}") from None
        return value

    def _arithmetic(self, node: yaml.Node) -> Any:
        arguments = node.value if isinstance(node, yaml.SequenceNode) else []
        if len(arguments) != 1 or not isinstance(arguments[0], yaml.ScalarNode):
            raise UserError(f"{self._where(node)}: the eval tag takes one quoted expression in a list")
        try:
            return evaluate_arithmetic(arguments[0].value)
        except ValueError as error:
            where = self._where(node)
            raise UserError(f"{where}: the eval tag is for list arithmetic only: {error}; write a list") from None

    def _refuse_tag(self, node: yaml.Node, allowed: set[str]) -> None:
        if node.tag not in allowed:
            name = node.tag.replace("tag:yaml.org,2002:", "!!")
            where = self._where(node)
            raise UserError(f"{where}: the YAML tag '{name[:80]}' is refused (it could run code); write the value out")

    def _visit(self, node: yaml.Node, depth: int) -> None:
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise UserError(f"{self._where(node)}: too many values or too deep for a config file (aliases of aliases?)")

    def _where(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"
