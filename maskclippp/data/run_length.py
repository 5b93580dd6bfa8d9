"""COCO run-length encoding of masks.

Masks are read by our own decoder: the C code of pycocotools trusts the text, and a damaged one makes it write beyond
its memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskclippp.utils.errors import UserError

from .images import MAX_PIXELS

_FIRST_CHARACTER = 48
_MAX_CHARACTERS = 7
"""Of one count: five bits each, for 32."""


def encode_rle(masks: np.ndarray) -> list[dict[str, Any]]:
    """Encode masks (Q, H, W), bool, as Q dicts ``{"size": [H, W], "counts": text}``."""
    encoded = coco_mask.encode(np.asfortranarray(masks.astype(np.uint8).transpose(1, 2, 0)))
    return [{"size": list(map(int, rle["size"])), "counts": rle["counts"].decode("ascii")} for rle in encoded]


def check_rle(segmentation: Any, where: str) -> tuple[int, int]:
    """Check a COCO run-length encoding, compressed (text) or not (list of counts), without decoding it.

    Returns:
        Its size (H, W).

    Raises:
        UserError: not a run-length encoding, or counts that do not fill the size.
    """
    _, size_hw = _runs(segmentation, where)
    return size_hw


def decode_rle(segmentation: Any, where: str) -> np.ndarray:
    """Decode a COCO run-length encoding, compressed (text) or not (list of counts).

    Args:
        segmentation: ``{"size": [H, W], "counts": text or list}``.
        where: file and index, for the message.

    Returns:
        (H, W) bool.

    Raises:
        UserError: not a run-length encoding, or counts that do not fill the size.
    """
    runs, (height, width) = _runs(segmentation, where)
    ones = np.arange(len(runs)) % 2 == 1  # the first run is of zeros
    return np.repeat(ones, runs).reshape(width, height).T  # column by column


def _runs(segmentation: Any, where: str) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the length of each run, and the size (H, W) that they fill."""
    size, counts = (segmentation.get(key) if isinstance(segmentation, dict) else None for key in ("size", "counts"))
    if not _is_size(size) or not isinstance(counts, str | bytes | list):
        raise UserError(f"{where}: not a COCO run-length encoding; expected {{'size': [H, W], 'counts': ...}}")
    height, width = size
    try:
        runs = _runs_of_list(counts) if isinstance(counts, list) else _runs_of_text(counts)
        if len(runs) and (runs.min() < 0 or runs.max() > height * width):
            raise ValueError(f"a count is not from 0 to {height}x{width}")
        if int(runs.sum()) != height * width:
            raise ValueError(f"counts add up to {int(runs.sum())}, not to {height}x{width}")
    except ValueError as error:
        raise UserError(f"{where}: broken run-length encoding: {error}") from error
    return runs, (height, width)


def _runs_of_list(counts: list[Any]) -> np.ndarray:
    if not all(type(count) is int and 0 <= count <= MAX_PIXELS for count in counts):
        raise ValueError("counts are whole numbers from 0")
    return np.array(counts, dtype=np.int64)


def _runs_of_text(text: str | bytes) -> np.ndarray:
    """Undo the packing: little-endian groups of five bits and a bit "goes on", the last one signed; from the fourth
    number on, each is the difference to the one two before."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogatepass")
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() >= 64:
        raise ValueError("a character that no encoder writes")
    ends = np.flatnonzero(codes & 32 == 0)  # of each number
    if not len(ends) or ends[-1] != len(codes) - 1:
        raise ValueError("the last number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError("a number longer than 32 bits")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
        and size[0] * size[1] <= MAX_PIXELS
    )
