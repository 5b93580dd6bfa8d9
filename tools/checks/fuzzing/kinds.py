"""All kinds of inputs, and how often each is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch

from .annotations import instances_case, panoptic_case
from .case import Case, Surroundings
from .configs import config_case
from .lists import dataset_case, vocabulary_case
from .offline import masks_case
from .pictures import picture_case
from .places import place_case
from .weights import checkpoint_case, clip_case, resume_case

KINDS: dict[str, tuple[Callable[[Surroundings], Case], int]] = {
    "config": (config_case, 5),
    "checkpoint": (checkpoint_case, 6),
    "resume": (resume_case, 3),
    "clip": (clip_case, 1),
    "picture": (picture_case, 5),
    "instances": (instances_case, 5),
    "panoptic": (panoptic_case, 5),
    "vocabulary": (vocabulary_case, 4),
    "dataset": (dataset_case, 3),
    "masks": (masks_case, 5),
    "place": (place_case, 3),
}


def draw_kind(seed: int, index: int, kinds: list[str]) -> str:
    """Return the kind of an input, by its weight."""
    return random.Random(f"{seed} {index}").choices(kinds, [KINDS[kind][1] for kind in kinds])[0]


def make_case(seed: int, index: int, kind: str, folder: Path, canary: Path) -> Case:
    """Write the files of an input into an empty folder; the same ones whenever and wherever it is made."""
    torch.manual_seed(index)
    return KINDS[kind][0](Surroundings(random.Random(f"{seed} {index} {kind}"), folder, canary))
