"""Fine-tune types: which parts of a tower train. One table for all image and text towers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Flag, auto

from torch import nn

from .errors import UserError, did_you_mean


class Part(Flag):
    """What a parameter is to a tower, as far as the fine-tune types ask.

    Which parameters are ATTENTION differs from tower to tower: published models were tuned by parts of names.
    """

    OTHER = 0
    ATTENTION = auto()
    """Projections into attention, and the position embedding."""
    READOUT = auto()
    """What follows the last attention."""
    PROJECTION = auto()
    """Final norm and projection, and CLIP's logit scale."""
    BATCH_NORM = auto()
    EARLY_STAGES = auto()
    """All before the last stage of a convolutional tower."""


FINETUNE_TYPES: dict[str, Callable[[Part], bool]] = {
    "none": lambda part: False,
    "all": lambda part: True,
    "attention": lambda part: bool(part & Part.ATTENTION),
    "proj": lambda part: bool(part & Part.PROJECTION),
    "before_proj": lambda part: not part & Part.READOUT,
    "all_but_bn": lambda part: not part & Part.BATCH_NORM,
    "before_s4": lambda part: bool(part & Part.EARLY_STAGES),
    "after_s4": lambda part: not part & Part.EARLY_STAGES,
}
"""Fine-tune type -> whether a parameter of this part trains."""


def check_finetune_type(finetune_type: str, valid: Collection[str], owner: str) -> None:
    """Check that a tower has a fine-tune type.

    Args:
        finetune_type: as the config gives it.
        valid: types that make sense for this tower.
        owner: whose type it is, for the message.

    Raises:
        UserError: it has not.
    """
    if finetune_type not in valid:
        raise UserError(f"FINETUNE_TYPE '{finetune_type}' of {owner}: valid are {', '.join(valid)}")


def finetune(module: nn.Module, finetune_type: str, part: Callable[[str], Part]) -> list[str]:
    """Let exactly the parameters train that the fine-tune type names.

    Args:
        module: the tower.
        finetune_type: a key of :data:`FINETUNE_TYPES`.
        part: name of a parameter -> its part.

    Returns:
        Names of the parameters that train, in order.

    Raises:
        UserError: unknown type.
    """
    if finetune_type not in FINETUNE_TYPES:
        raise UserError(f"FINETUNE_TYPE '{finetune_type}' is not known{did_you_mean(finetune_type, FINETUNE_TYPES)}")
    trains = FINETUNE_TYPES[finetune_type]
    names = []
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trains(part(name)))
        if parameter.requires_grad:
            names.append(name)
    return names
