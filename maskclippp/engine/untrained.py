"""Evaluation of random weights means nothing: heads that were never trained, encoders and generators without files."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

from detectron2.config import CfgNode
from torch import nn

from maskclippp.utils.errors import UserError

# Parts of MaskCLIPpp whose own weights have a key; their names in the state dict are the keys in lower case.
_WITH_OWN_WEIGHTS = ("VISUAL_ENCODER", "VISUAL_ENCODER_F", "TEXT_ENCODER", "TEXT_ENCODER_F", "SEGMENTOR")

logger = logging.getLogger(__name__)


def check_trained(cfg: CfgNode, model: nn.Module, loaded: AbstractSet[str], source: str) -> None:
    """Refuse a head whose weights are still random, and warn of other parts without weights.

    Args:
        cfg: says which parts have weights of their own.
        model: may name beginnings of state-dict names in ``random_parts``: what is random until it is trained.
        loaded: state-dict names that the checkpoint has filled.
        source: the checkpoint, for messages; empty: none.

    Raises:
        UserError: a head is random.
    """
    missing = [key for key in model.state_dict() if key not in loaded]
    parts: tuple[str, ...] = getattr(model, "random_parts", ())
    random = [key for key in missing if parts and key.startswith(parts)]
    if random:
        lack = f"MODEL.WEIGHTS {source} lacks" if source else "MODEL.WEIGHTS is empty, it should hold"
        raise UserError(
            f"{lack} {random[0]} (and {len(random) - 1} others): an untrained head is not evaluated; name its "
            "checkpoint, or evaluate the original CLIP with MODEL.MASKCLIPPP.PSM.NAME DummyPSM"
        )
    if not hasattr(model, "random_parts"):
        return
    for name in _WITH_OWN_WEIGHTS:
        node = cfg.MODEL.MASKCLIPPP[name]
        named = node.PRETRAINED or node.get("LOAD_FROM", "")
        if not named and any(key.startswith(f"{name.lower()}.") for key in missing):
            logger.warning("MODEL.MASKCLIPPP.%s.PRETRAINED is empty: this part has RANDOM weights", name)
