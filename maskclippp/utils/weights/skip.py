"""A switch for building models without their weights: on the meta device there is nothing to fill."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_skipped: ContextVar[bool] = ContextVar("weights_are_skipped", default=False)


@contextmanager
def without_weights() -> Iterator[None]:
    """Inside, models are built as if no weights were named: no file is read, nothing is downloaded."""
    token = _skipped.set(True)
    try:
        yield
    finally:
        _skipped.reset(token)


def weights_are_skipped() -> bool:
    """Return whether this is inside :func:`without_weights`."""
    return _skipped.get()
