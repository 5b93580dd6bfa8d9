"""Metrics of single classes, told apart from those of all classes by the type of their names."""

from __future__ import annotations

from collections.abc import Mapping


class ClassMetric(str):
    """The name of a metric of one class, such as "IoU-dog"; equal to the plain string.

    The text alone does not tell: "top-1" may be a metric of all classes, and a class may be called "t-shirt".
    """

    __slots__ = ()


def of_class(metric: str, class_name: str) -> ClassMetric:
    """Return the name of a metric of one class, "METRIC-CLASS"."""
    return ClassMetric(f"{metric}-{class_name}")


def overall(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are not of one class, in their order."""
    return {name: value for name, value in scores.items() if not isinstance(name, ClassMetric)}
