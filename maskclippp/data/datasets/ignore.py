"""Which value of a label map means "not labelled", and that it does not swallow a class."""

from __future__ import annotations

import logging

from detectron2.data.catalog import Metadata

from maskclippp.utils.logging import log_once

from ..vocabularies import split_synonyms

logger = logging.getLogger(__name__)

USUAL = 255
_SIXTEEN_BITS = 65535


def default_ignore_label(num_classes: int) -> int:
    """Return the value of unlabelled pixels where nobody states one: 255, or, if that is a class, 65535."""
    return USUAL if num_classes <= USUAL else max(_SIXTEEN_BITS, num_classes)


def ignore_label_of(metadata: Metadata) -> int | None:
    """Return the value of unlabelled pixels in the label maps of a dataset; None if it has no label maps.

    What the metadata state counts. A stated value that is a class is told once.
    """
    classes = getattr(metadata, "stuff_classes", None)
    stated = getattr(metadata, "ignore_label", None)
    if stated is None:
        return default_ignore_label(len(classes)) if classes else None
    if classes and 0 <= stated < len(classes) and not getattr(metadata, "described_in", ""):
        log_once(logger, logging.WARNING, f"dataset '{metadata.name}': {lost_class(stated, classes[stated])}")
    return stated


def lost_class(label: int, entry: str) -> str:
    """Say what an ignored value inside the class range does."""
    name = split_synonyms(entry)[0]
    return f"ignore_label {label} is class {label}, '{name}': that class is never trained nor scored"
