"""A small evaluator for the list arithmetic that published configs write as a Python ``eval`` tag; it runs no code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection
from typing import Any

MAX_SOURCE_LENGTH = 500
MAX_ITEMS = 1000
MAX_MAGNITUDE = 1e12

Number = int | float

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[[Any], Number]] = {"int": int, "float": float, "round": round}


def evaluate_arithmetic(source: str) -> Any:
    """Return the value of an expression such as ``[int(x * 0.1 * 640) for x in range(5, 21)]``.

    Understood: numbers, ``+ - * / // %``, ``int()``, ``float()``, ``round()``, lists and tuples (nested too), and one
    list comprehension over ``range()``. Numbers and lengths are bounded.

    Raises:
        ValueError: anything else, with the part that is not understood.
    """
    if len(source) > MAX_SOURCE_LENGTH:
        raise ValueError(f"the expression is longer than {MAX_SOURCE_LENGTH} characters")
    try:
        tree = ast.parse(source.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"'{source}' is not an expression") from None
    try:
        return _value(tree.body, {})
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"'{source}' cannot be computed: {error}") from None


def _value(node: ast.expr, names: dict[str, int]) -> Any:
    """A list, a tuple or a number."""
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item, names) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.ListComp):
        return _comprehension(node, names)
    return _number(node, names)


def _number(node: ast.expr, names: dict[str, int]) -> Number:
    call = _call(node, _FUNCTIONS)
    result: Number
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        result = node.value
    elif isinstance(node, ast.Name) and node.id in names:
        result = names[node.id]
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        result = _BINARY[type(node.op)](_number(node.left, names), _number(node.right, names))
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        result = _UNARY[type(node.op)](_number(node.operand, names))
    elif call is not None and len(call[1]) == 1:
        result = _FUNCTIONS[call[0]](_number(call[1][0], names))
    else:
        raise ValueError(f"'{ast.unparse(node)}' is not plain arithmetic")
    if not abs(result) <= MAX_MAGNITUDE:
        raise ValueError(f"'{ast.unparse(node)}' is out of bounds")
    return result


def _comprehension(node: ast.ListComp, names: dict[str, int]) -> list[Any]:
    loop = node.generators[0]
    call, target = _call(loop.iter, {"range"}), loop.target
    simple = len(node.generators) == 1 and not loop.ifs and not names
    if not simple or not isinstance(target, ast.Name) or call is None or not 1 <= len(call[1]) <= 3:
        raise ValueError(f"'{ast.unparse(node)}' is not a plain list comprehension over range()")
    bounds: list[Any] = [_number(bound, names) for bound in call[1]]
    steps = range(*bounds)
    if len(steps) > MAX_ITEMS:
        raise ValueError(f"'{ast.unparse(node)}' has more than {MAX_ITEMS} items")
    return [_number(node.elt, {target.id: step}) for step in steps]


def _call(node: ast.expr, functions: Collection[str]) -> tuple[str, list[ast.expr]] | None:
    """The function's name and the arguments of a plain call of one of the functions."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.keywords:
        return None
    return (node.func.id, node.args) if node.func.id in functions else None
