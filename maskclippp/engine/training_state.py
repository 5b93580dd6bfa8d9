"""States of optimizer, schedule and loss scaler from a checkpoint: looked at before they are taken over.

What load_state_dict of torch takes over as it is would fail at the first step, or overwrite anything of its object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from maskclippp.utils.errors import first_line, show

_ADAM = (torch.optim.Adam, torch.optim.AdamW)  # in older releases of torch neither is the other
_OF_ADAM = ("step", "exp_avg", "exp_avg_sq")
_SETTINGS_OF_ADAM = ("lr", "betas", "eps", "weight_decay")


def load_training_state(thing: Any, state: Any) -> None:
    """Hand a saved state to an optimizer, a schedule or a loss scaler.

    Raises:
        ValueError: it is no state of such a thing; tells where it differs.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"it is {show(state)}")
    if isinstance(thing, torch.optim.Optimizer):
        _check_optimizer(thing, state)
    else:
        own = thing.state_dict()
        if own and set(state) != set(own):
            raise ValueError(f"it has the entries {show(list(state))}, not {show(list(own))}")
        for key, value in own.items():
            _check_kind(value, state[key], str(key))
    try:
        thing.load_state_dict(state)
    # torch's own checks end in errors of many kinds.
    except Exception as error:
        raise ValueError(first_line(error)) from None


def _check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    groups, entries = state.get("param_groups"), state.get("state")
    if not isinstance(groups, list) or not isinstance(entries, Mapping):
        raise ValueError("it has no 'param_groups' and 'state'")
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(f"it has {len(groups)} groups of parameters, not {len(optimizer.param_groups)}")
    for number, (own, found) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        _check_group(own, found, f"group {number}")
        if isinstance(optimizer, _ADAM):
            # Its constructor knows which numbers are possible.
            type(optimizer)([torch.zeros(1)], **{key: found[key] for key in _SETTINGS_OF_ADAM})
    numbers = chain.from_iterable(group["params"] for group in groups)
    parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    shapes = {number: parameter.shape for number, parameter in zip(numbers, parameters, strict=True)}
    needed = _OF_ADAM if isinstance(optimizer, _ADAM) else ()
    for number, entry in entries.items():
        if number not in shapes:
            raise ValueError(f"it has a state of parameter {show(number)}, which is in no group")
        _check_entry(entry, shapes[number], needed, f"parameter {number}")


def _check_group(own: Mapping[str, Any], found: Any, where: str) -> None:
    """Settings that newer releases of torch have added may be missing; numbers may not."""
    if not isinstance(found, Mapping) or not isinstance(found.get("params"), list):
        raise ValueError(f"{where} has no 'params'")
    if len(found["params"]) != len(own["params"]) or not all(type(number) is int for number in found["params"]):
        raise ValueError(f"{where} has not {len(own['params'])} parameters by number")
    for key, value in own.items():
        if key != "params" and (key in found or isinstance(value, float | tuple) or key in _SETTINGS_OF_ADAM):
            _check_kind(value, found.get(key), f"{where}, {key}")


def _check_entry(entry: Any, shape: torch.Size, needed: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, Mapping) or any(key not in entry for key in needed):
        raise ValueError(f"{where} has not the entries {', '.join(needed)}")
    for key, value in entry.items():
        is_number = isinstance(value, Tensor) and value.numel() == 1 or _is_number(value) or value is None
        fits = is_number if key == "step" else isinstance(value, Tensor) and value.shape == shape
        if not fits and not (is_number and key not in needed):
            found = tuple(value.shape) if isinstance(value, Tensor) else show(value)
            raise ValueError(f"{where}: its {show(key)} is {found}, the parameter is {tuple(shape)}")


def _check_kind(own: Any, found: Any, where: str) -> None:
    """Compare what a value is, not what it says; lists may be of other lengths."""
    if isinstance(own, bool) or own is None:
        fits = isinstance(found, bool) or found is None
    elif _is_number(own):
        fits = _is_number(found)
    elif isinstance(own, list | tuple):
        fits = isinstance(found, list | tuple)
        for value in found if fits and own else ():
            _check_kind(own[0], value, where)
        fits = fits and (isinstance(own, list) or len(found) == len(own))
    else:
        fits = isinstance(found, type(own))
    if not fits:
        raise ValueError(f"{where} is {show(found)}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
