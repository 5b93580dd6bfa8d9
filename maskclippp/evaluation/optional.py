"""Optional evaluation packages: how to get them, and NumPy names that they still use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError


def require(module: str, purpose: str, command: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: full name.
        purpose: what needs it, for the message.
        command: how to install the package.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{purpose} needs the package {module.split('.')[0]} ({error}): {command}") from error


class _EarlierNumPy:
    """NumPy with the names that were removed in 1.24 and 2.4."""

    float = float

    @staticmethod
    def in1d(values: Any, members: Any, **options: Any) -> np.ndarray:
        """``numpy.isin`` on flattened values."""
        return np.isin(np.ravel(values), members, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextmanager
def earlier_numpy(*modules: ModuleType) -> Iterator[None]:
    """Let modules that say ``np`` see the removed names; NumPy itself and all other modules stay as they are."""
    try:
        for module in modules:
            module.np = _EarlierNumPy()
        yield
    finally:
        for module in modules:
            module.np = np
