"""Annotated areas that contradict the pixels of a panoptic PNG: counted while an evaluation runs, told at its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from maskclippp.data.panoptic_segments import IMPLAUSIBLE

from .panoptic_matching import ImageMatches
from .streaming import State


class AreaCounts:
    """How many segments there are, and of how many the area is smaller or much larger than the pixels."""

    def __init__(self) -> None:
        self._counts = {"all": 0, "small": 0, "large": 0}
        self._first = {"small": "", "large": ""}

    def add(self, matches: ImageMatches, segments: Sequence[dict[str, Any]], where: str) -> None:
        """Add an image; ``where`` is its PNG."""
        self._counts["all"] += len(segments)
        for kind, places in (("small", matches.small), ("large", matches.large)):
            self._counts[kind] += len(places)
            if places:
                segment, pixels = segments[places[0]], matches.pixels[places[0]]
                example = f"{where}, segment {segment['id']}: area {segment['area']:g}, {pixels} pixels"
                self._first[kind] = min(filter(None, (self._first[kind], example)))

    def state_dict(self) -> State:
        """Counts and examples."""
        return {"counts": dict(self._counts), "first": dict(self._first)}

    def add_state(self, state: State) -> None:
        """Add those of others."""
        for kind, count in state["counts"].items():
            self._counts[kind] += count
        for kind, example in state["first"].items():
            self._first[kind] = min(filter(None, (self._first[kind], example)), default="")

    def report(self, logger: logging.Logger, *, tell_large: bool) -> None:
        """Warn once of each kind. Published files whose areas are larger than the pixels have them on purpose."""
        if self._counts["small"]:
            logger.warning(
                "panoptic evaluation: 'area' of %d of %d true segments is smaller than their pixels, which are counted "
                "instead, as in %s",
                *(self._counts["small"], self._counts["all"], self._first["small"]),
            )
        if self._counts["large"] and tell_large:
            logger.warning(
                "panoptic evaluation: 'area' of %d of %d true segments is more than %s times their pixels, which "
                "lowers their IoU; leave 'area' out to have pixels counted; as in %s",
                *(self._counts["large"], self._counts["all"], IMPLAUSIBLE, self._first["large"]),
            )
