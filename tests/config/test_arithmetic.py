"""The evaluator for list arithmetic: what it computes and what it refuses."""

from __future__ import annotations

import pytest

from maskclippp.config.arithmetic import evaluate_arithmetic


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[int(x * 0.1 * 640) for x in range(5, 21)]", [int(x * 0.1 * 640) for x in range(5, 21)]),
        ("[int(x*0.1*448) for x in range(3, 20, 2)]", [134, 224, 313, 403, 492, 582, 672, 761, 851]),
        ("[1, 2.5, -3]", [1, 2.5, -3]),
        ("(512 // 3, 7 % 4, round(2.6), float(1))", (170, 3, 3, 1.0)),
        ("2 * (3 + 4) - 1 / 4", 13.75),
    ],
)
def test_computes(source, expected):
    assert evaluate_arithmetic(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "[x for x in ().__class__.__base__.__subclasses__()]",
        "'a' * 3",
        "[0] * 10",
        "9 ** 9 ** 9",
        "1e300 * 1e300",
        "[x for x in range(1000000000)]",
        "[x for x in range(3) if x]",
        "[[x for x in range(9)] for y in range(9)]",
        "[x for x in [1, 2]]",
        "int('12')",
        "lambda: 1",
        "open",
        "True",
        "1 / 0",
        "[int(x) for x in range(1.5)]",
        "1 +",
        "(" * 300,
        "1+" * 400 + "1",
    ],
)
def test_refuses(source):
    with pytest.raises(ValueError):
        evaluate_arithmetic(source)
