"""Colours for classes: distinct for any number of them, the same in every run."""

from __future__ import annotations


def palette(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` distinct RGB colours (0 to 255), none of them black: Pascal VOC's colour map from index 1 on.

    The bits of the index are dealt to the channels in turn and become their highest bits first.
    """
    return [_colour(index) for index in range(1, count + 1)]


def _colour(index: int) -> tuple[int, int, int]:
    channels = [0, 0, 0]
    for bit in range(24):
        channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
