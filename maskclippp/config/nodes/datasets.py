"""DATASETS and DATALOADER: what is read, and by how many."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import NAMES, at_least

KEYS = (
    *under(
        "DATASETS",
        Key("TRAIN", (), "training datasets, by name; the first gives the classes that count as seen", NAMES),
        Key("TEST", (), "datasets to evaluate, by name", NAMES),
        Key("ALLOW_INCOMPLETE", False, "go on with a dataset of which files are missing; results are marked"),
    ),
    *under(
        "DATALOADER",
        Key("NUM_WORKERS", 4, "processes that read, for each GPU; 0: none", at_least(0, 1000)),
        Key("FILTER_EMPTY_ANNOTATIONS", True, "instances: leave out pictures that have none but crowds"),
    ),
)
