"""What several methods share: their vocabularies, and the checks of training records."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskclippp.data.datasets import ignore_label_of
from maskclippp.data.datasets.configured import train_metadata
from maskclippp.data.vocabularies import seen_ignoring_case, spelling_notes, split_synonyms
from maskclippp.structures import ParameterRule
from maskclippp.utils.errors import UserError
from maskclippp.utils.logging import log_once

from .base import Record

logger = logging.getLogger(__name__)

Names = tuple[tuple[str, ...], ...]


def class_entries(metadata: Any) -> list[str]:
    """Return the class entries of a dataset, stuff_classes (all classes) or else thing_classes."""
    return list(getattr(metadata, "stuff_classes", None) or metadata.thing_classes)


def class_names(metadata: Any) -> Names:
    """Return the synonyms of each class of a dataset."""
    return tuple(tuple(split_synonyms(entry)) for entry in class_entries(metadata))


def dataset_name(metadata: Any) -> str:
    """Return how messages call the dataset of ``metadata``."""
    return getattr(metadata, "name", "the test vocabulary")


def train_names(cfg: Any) -> Names:
    """Return the class names of the first of DATASETS.TRAIN, those that are seen in training.

    Raises:
        UserError: there is none.
    """
    return class_names(train_metadata(cfg))


def common_vocabulary(metadata: Any, trained: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return what every prepared vocabulary holds; say how many classes are seen, and where spelling mattered.

    Args:
        metadata: of the test dataset.
        trained: synonyms of the classes seen in training.
    """
    name, names = dataset_name(metadata), class_names(metadata)
    entries, train_entries = ([",".join(each) for each in some] for some in (names, trained))
    seen = seen_ignoring_case(entries, train_entries)
    log_once(logger, logging.INFO, f"{name}: {sum(seen)} of {len(seen)} classes are seen in training")
    for note in spelling_notes(entries, train_entries):
        log_once(logger, logging.WARNING, f"{name}: {note}")
    things = getattr(metadata, "thing_dataset_id_to_contiguous_id", {}).values()
    return {
        "name": name,
        "names": names,
        "things": tuple(sorted(things)),
        "seen": torch.tensor(seen, dtype=torch.bool),
        "ignore_label": ignore_label_of(metadata) if getattr(metadata, "ignore_label", None) is not None else None,
    }


def rules_of_encoders(visual: float, text: float) -> tuple[ParameterRule, ...]:
    """Return the rules of a tuned CLIP, from the multipliers of the learning rate of its two towers."""
    return (
        ParameterRule("visual_encoder.proxy.", visual, decay_by_name=True),
        ParameterRule("text_encoder.", text, decay_by_name=True),
    )


def check_targets(records: Sequence[Record]) -> None:
    """Check that the ground-truth masks are on the grid of their image.

    Raises:
        UserError: they are not.
    """
    for record in records:
        masks, image = tuple(record["instances"].image_size), tuple(record["image"].shape[-2:])
        if masks != image:
            name = record.get("file_name", "an image without a name")
            raise UserError(f"{name}: its masks are for a picture of {masks}, but it is {image}; check the mapper")


def without_masks(records: Sequence[Record], effect: str) -> str:
    """Say that a batch has no masks, and what to look for if it is not the only one."""
    first = records[0].get("file_name", "an image without a name")
    return (
        f"no masks in this batch of {len(records)} images, first {first}; {effect}. This is told once: if the loss "
        "stays as it is, all masks of the dataset are left out (ignored labels, crowds, empty masks)"
    )


def own_draws(records: Sequence[Record], device: torch.device) -> list[torch.Generator] | None:
    """Return a source of random numbers for each picture, so that its draws do not depend on the others.

    None where the records say nothing of draws, as outside of a training run.
    """
    if not all("draw_seed" in record for record in records):
        return None
    return [torch.Generator(device).manual_seed(record["draw_seed"]) for record in records]


def no_loss(parameters: Sequence[Tensor]) -> Tensor:
    """Return a loss of 0 that reaches all parameters, for a part of a batch that has nothing to be trained on."""
    return sum(parameter.sum() * 0.0 for parameter in parameters)
