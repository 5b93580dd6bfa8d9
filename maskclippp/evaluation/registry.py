"""Registry of evaluators: which results of which datasets each of them scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from maskclippp.utils.registry import Registry

from .streaming import StreamingEvaluator

ALWAYS = "always"
TASKS = ("semantic", "panoptic", "instance")
"""Their results come in this order, but for the types in ``_ORDERS``; what is always evaluated comes last."""

# The order of the published logs.
_ORDERS = {
    "coco_panoptic_seg": ("panoptic", "instance", "semantic"),
    "mapillary_vistas_panoptic_seg": ("panoptic", "instance", "semantic"),
    "cityscapes_panoptic_seg": ("panoptic", "semantic", "instance"),
}

EVALUATOR_REGISTRY = Registry("EVALUATOR")
EVALUATOR_REGISTRY.__doc__ = """
Evaluators: :class:`RegisteredEvaluator` by the name of the class. See :func:`register_evaluator`.
"""

Kind = TypeVar("Kind", bound=type[StreamingEvaluator])


@dataclass(frozen=True)
class RegisteredEvaluator:
    """What an evaluator is for.

    Attributes:
        kind: the class; its ``for_dataset`` makes the evaluator of a dataset.
        types: values of ``evaluator_type`` in the metadata of the datasets that it is for.
        task: of ``TASKS``, which must be on; ``ALWAYS``: whichever is.
    """

    kind: type[StreamingEvaluator]
    types: tuple[str, ...]
    task: str


def register_evaluator(*types: str, task: str) -> Callable[[Kind], Kind]:
    """Return a decorator that registers a subclass of StreamingEvaluator for types of datasets and a task.

    A type may be a new one, of datasets of one's own (``evaluator`` in their file), or a known one: whatever is
    registered for the same type and task is evaluated side by side.

    Args:
        types: of datasets, ``evaluator_type`` in their metadata.
        task: of ``TASKS``, which must be on, or ``ALWAYS``.

    Raises:
        ValueError: no type, or another task.
    """
    if not types or task not in (*TASKS, ALWAYS):
        raise ValueError(f"an evaluator is for types of datasets and one of {', '.join((*TASKS, ALWAYS))}")

    def add(kind: Kind) -> Kind:
        EVALUATOR_REGISTRY.register_as(kind.__name__)(RegisteredEvaluator(kind, types, task))
        return kind

    return add


def evaluator_types() -> tuple[str, ...]:
    """Return what metadata may say as ``evaluator_type``."""
    return tuple(dict.fromkeys(kind for _, entry in EVALUATOR_REGISTRY for kind in entry.types))


def evaluators_of(evaluator_type: str) -> list[RegisteredEvaluator]:
    """Return the evaluators for a type of datasets, in the order of their tasks; of one task as registered."""
    found = [entry for _, entry in EVALUATOR_REGISTRY if evaluator_type in entry.types]
    order = (*_ORDERS.get(evaluator_type, TASKS), ALWAYS)
    return sorted(found, key=lambda entry: order.index(entry.task))
