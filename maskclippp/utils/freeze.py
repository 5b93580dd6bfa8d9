"""Choose which parameters train, by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def train_only(module: nn.Module, trains: Callable[[str], bool]) -> list[str]:
    """Let exactly the parameters train for whose name ``trains`` is true; return their names in order."""
    names = []
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trains(name))
        if parameter.requires_grad:
            names.append(name)
    return names
