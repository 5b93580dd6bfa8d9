"""How a method wants its parameters trained, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ParameterRule:
    """What holds for the parameters whose names in checkpoints begin alike.

    Attributes:
        prefix: beginning of the names.
        rate: the learning rate is multiplied by it.
        decay_by_name: what is called an embedding or a bias has the weight decay of embeddings or of biases.
    """

    prefix: str
    rate: float = 1.0
    decay_by_name: bool = False


def rule_for(name: str, rules: Sequence[ParameterRule]) -> ParameterRule:
    """Return the rule with the longest prefix of a name; without one, a rule that changes nothing."""
    fitting = [rule for rule in rules if name.startswith(rule.prefix)]
    return max(fitting, key=lambda rule: len(rule.prefix), default=ParameterRule(""))
