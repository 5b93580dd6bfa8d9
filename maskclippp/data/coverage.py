"""Which classes occur in a ground truth, and how much of it is ignored: a score says nothing of what is not there."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from .vocabularies import split_synonyms

SHOWN = 5


def describe_coverage(
    class_names: Sequence[str], counts: Sequence[int] | np.ndarray, *, ignored: int = 0, pixels: int = 0
) -> str:
    """Say how many classes occur nowhere, which ones, and what part of the pixels is ignored.

    Args:
        class_names: K class entries; the first synonym is shown.
        counts: (K,) pixels, masks or segments of each class.
        ignored: pixels that belong to no class.
        pixels: all pixels; 0: not known.
    """
    absent = [split_synonyms(name)[0] for name, count in zip(class_names, counts, strict=True) if not count]
    shown = ", ".join(absent[:SHOWN]) + (f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else "")
    found = f"{len(absent)} of {len(class_names)} classes occur nowhere ({shown})" if absent else "every class occurs"
    return found + (f", {percent(ignored, pixels)} of the pixels are ignored" if pixels else "")


def log_coverage(
    logger: logging.Logger,
    class_names: Sequence[str],
    counts: Sequence[int] | np.ndarray,
    *,
    ignored: int = 0,
    pixels: int = 0,
) -> None:
    """Log :func:`describe_coverage`; classes that occur nowhere are a warning, for no mean holds them."""
    told = describe_coverage(class_names, counts, ignored=ignored, pixels=pixels)
    lacks = not np.all(counts)
    effect = "; those that occur nowhere have no score and are in no mean" if lacks else ""
    logger.log(logging.WARNING if lacks else logging.INFO, "Ground truth: %s%s", told, effect)


def percent(part: int, whole: int) -> str:
    """Return a share in percent; little is not called nothing, nor nearly all everything."""
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "less than 0.1 %"
    return "more than 99.9 %" if 99.9 < share < 100 else f"{share:.1f} %"
