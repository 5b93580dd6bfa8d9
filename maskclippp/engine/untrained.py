"""Evaluation of random weights means nothing: heads that were never trained, encoders and generators without files."""

from __future__ import annotations

import logging
from collections.abc import Set as AbstractSet

from detectron2.config import CfgNode

from maskclippp.inference import TaskInference
from maskclippp.methods import Method
from maskclippp.utils.errors import UserError

# Parts of MaskCLIPpp whose own weights have a key; their names in the state dict are the keys in lower case.
_WITH_OWN_WEIGHTS = ("VISUAL_ENCODER", "VISUAL_ENCODER_F", "TEXT_ENCODER", "TEXT_ENCODER_F", "SEGMENTOR")

logger = logging.getLogger(__name__)


def check_trained(cfg: CfgNode, method: Method, loaded: AbstractSet[str], source: str) -> None:
    """Refuse a head whose weights are still random, and warn of other parts without weights.

    Args:
        cfg: says which parts have weights of their own.
        method: says which parts are random until they are trained.
        loaded: state-dict names that the checkpoint has filled.
        source: the checkpoint, for messages; empty: none.

    Raises:
        UserError: a head is random.
    """
    missing = [key for key in method.state_dict() if key not in loaded]
    parts = method.random_parts(only_masks=TaskInference.from_config(cfg).segmentor_only)
    random = [key for key in missing if key.startswith(parts)]
    if random:
        lack = f"MODEL.WEIGHTS {source} lacks" if source else "MODEL.WEIGHTS is empty, it should hold"
        raise UserError(
            f"{lack} {random[0]} (and {len(random) - 1} others): an untrained head is not evaluated; name its "
            "checkpoint, or evaluate the original CLIP with MODEL.MASKCLIPPP.PSM.NAME DummyPSM"
        )
    for name in _WITH_OWN_WEIGHTS:
        node = cfg.MODEL.MASKCLIPPP[name]
        named = node.PRETRAINED or node.get("LOAD_FROM", "")
        if not named and any(key.startswith(f"{name.lower()}.") for key in missing):
            logger.warning("MODEL.MASKCLIPPP.%s.PRETRAINED is empty: this part has RANDOM weights", name)
