"""Where a panoptic file contradicts the pixels of its PNGs: counted while an evaluation runs, told at its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from maskclippp.data.panoptic_segments import IMPLAUSIBLE

from .panoptic_matching import ImageMatches
from .streaming import State


class AreaCounts:
    """How many segments there are; how many have no pixel, or an area that is smaller or much larger than their pixels;
    and how many pixels are of no segment in the file."""

    def __init__(self) -> None:
        self._counts = {"all": 0, "small": 0, "large": 0, "empty": 0, "unlisted": 0}
        self._first = {"small": "", "large": "", "empty": "", "unlisted": ""}

    def add(self, matches: ImageMatches, segments: Sequence[dict[str, Any]], where: str) -> None:
        """Add an image; ``where`` is its PNG."""
        self._counts["all"] += len(segments)
        empty = [place for place, pixels in enumerate(matches.pixels) if not pixels]
        large = [place for place in matches.large if matches.pixels[place]]
        for kind, places in (("small", matches.small), ("large", large), ("empty", empty)):
            if places:
                segment, pixels = segments[places[0]], matches.pixels[places[0]]
                area = "" if kind == "empty" else f": area {segment['area']:g}, {pixels} pixels"
                self._note(kind, len(places), f"{where}, segment {segment['id']}{area}")
        if matches.unlisted:
            self._note("unlisted", matches.unlisted, where)

    def _note(self, kind: str, count: int, example: str) -> None:
        self._counts[kind] += count
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
        if self._counts["empty"]:
            logger.warning(
                "panoptic evaluation: %d of %d true segments have no pixel in their PNG and count as missed, as %s",
                *(self._counts["empty"], self._counts["all"], self._first["empty"]),
            )
        if self._counts["unlisted"]:
            logger.warning(
                "panoptic evaluation: %d pixels of the PNGs belong to segments that the JSON file does not list; they "
                "are no class, and what is predicted there is wrong, as in %s",
                *(self._counts["unlisted"], self._first["unlisted"]),
            )
        if self._counts["large"] and tell_large:
            logger.warning(
                "panoptic evaluation: 'area' of %d of %d true segments is more than %s times their pixels, which "
                "lowers their IoU; leave 'area' out to have pixels counted; as in %s",
                *(self._counts["large"], self._counts["all"], IMPLAUSIBLE, self._first["large"]),
            )
