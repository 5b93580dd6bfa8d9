"""Registries of plug-ins; an unknown name is answered with what exists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fvcore.common.registry import Registry as _Registry

from .errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(_Registry):
    """fvcore's registry with a helpful answer to an unknown name."""

    def get(self, name: str) -> Any:
        """Return the registered object.

        Raises:
            UserError: nothing is registered under ``name``.
        """
        if name not in self:
            valid = [key for key, _ in self]
            raise UserError(f"no {self._name.lower().replace('_', ' ')} is called '{name}'{did_you_mean(name, valid)}")
        return super().get(name)

    def register_as(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under a published name which is not its own."""

        def add(registered: T) -> T:
            self._do_register(name, registered)
            return registered

        return add
