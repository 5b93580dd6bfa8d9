"""Keys that detectron2's config has and nothing here reads: accepted at detectron2's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

from detectron2.config import CfgNode, get_cfg

from ..keys import Key

# Beginnings of names, the first that fits counts.
_MEANINGS = {
    "MODEL.RPN.": "region proposals",
    "MODEL.PROPOSAL_GENERATOR.": "region proposals",
    "MODEL.ANCHOR_GENERATOR.": "anchors of detectors",
    "MODEL.ROI_": "heads of region-based detectors",
    "MODEL.RETINANET.": "RetinaNet",
    "MODEL.PANOPTIC_FPN.": "Panoptic FPN",
    "MODEL.": "detectors of detectron2",
    "DATASETS.": "proposals that are read from files",
    "DATALOADER.": "data loading of detectron2; here every picture is drawn equally often, in mixed shapes",
    "SOLVER.": "training of detectron2",
    "TEST.PRECISE_BN.": "exact statistics of batch norms",
    "TEST.": "evaluation of detectron2",
    "": "other parts of detectron2",
}


def keys(own: Set[str]) -> list[Key]:
    """Return a row for each key of the installed detectron2 that is not among ``own``."""
    return [
        Key(name, value, _meaning(name), status="ignored") for name, value in _leaves(get_cfg(), "") if name not in own
    ]


def _leaves(node: CfgNode, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _meaning(name: str) -> str:
    return next(meaning for beginning, meaning in _MEANINGS.items() if name.startswith(beginning))
