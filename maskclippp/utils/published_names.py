"""Keep a module's own parameter names inside, the published ones in checkpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

Renaming = Sequence[tuple[str, str]]


def rename(name: str, pairs: Renaming) -> str:
    """Apply every (pattern, replacement) of ``re.sub`` to ``name``, in order."""
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name


def use_published_names(module: nn.Module, to_published: Renaming, to_own: Renaming) -> None:
    """Let ``module`` save its state dict under published names and load it from either kind.

    Args:
        module: any module; names below are relative to it.
        to_published: renames own names when saving.
        to_own: renames published names when loading; must leave own names as they are.
    """

    def after_saving(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
        for name in [name for name in state if name.startswith(prefix)]:
            state[prefix + rename(name[len(prefix) :], to_published)] = state.pop(name)

    def before_loading(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        for name in [name for name in state if name.startswith(prefix)]:
            own = prefix + rename(name[len(prefix) :], to_own)
            if own != name:
                state[own] = state.pop(name)

    module.register_state_dict_post_hook(after_saving)
    module.register_load_state_dict_pre_hook(before_loading)
