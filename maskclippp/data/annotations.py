"""The only reader of annotation files: label maps, panoptic ids, JSON; masks are in :mod:`.mask_files`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError, first_line
from maskclippp.utils.files import open_regular

from .images import decode

MAX_JSON_BYTES = 4 << 30
"""The largest published annotation files have a little more than one gigabyte."""

_INT64 = 2**63

_LARGEST_TABLE = 1 << 24
"""Ids of panoptic PNGs are below it."""

ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


def read_label_map(
    path: str | Path,
    *,
    size_hw: tuple[int, int] | None = None,
    num_classes: int | None = None,
    ignore_label: int | None = None,
) -> np.ndarray:
    """Read a one-channel label map (PNG, TIFF, ...).

    Args:
        path: label file.
        size_hw: size of the image it belongs to; checked if given.
        num_classes: labels must be below it or equal ``ignore_label``; checked if given.
        ignore_label: the value of unlabelled pixels.

    Returns:
        (H, W) int32 of contiguous class ids and ``ignore_label``.

    Raises:
        UserError: unreadable file, several channels, wrong size, label out of range; names the file and what was found.
    """
    image = decode(path)
    if image.mode == "F":
        raise UserError(f"{path}: its values are floating-point numbers; a label map has whole numbers, one of a class")
    if image.mode not in ONE_CHANNEL:
        found = f"a label map has one channel, this file has {len(image.getbands())} ({image.mode})"
        raise UserError(f"{path}: {found}; save numbers of classes in place of colours")
    labels = np.asarray(image).astype(np.int32)
    check_size(path, labels.shape, size_hw)
    if num_classes is not None:
        check_labels(labels, num_classes, ignore_label, path)
    return labels


def labelled_classes(labels: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Return the classes of a label map in ascending order, without the ignored one; None: nothing is ignored.

    Masks made of a label map, and what they are scored against, are in this order.
    """
    classes = np.unique(labels)
    return classes if ignore_label is None else classes[classes != ignore_label]


def read_panoptic_ids(path: str | Path, *, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Read a colour-coded panoptic PNG.

    Returns:
        (H, W) int32 of segment ids, see :func:`panoptic_ids`.

    Raises:
        UserError: unreadable file, not three channels, wrong size.
    """
    return panoptic_ids(read_panoptic_colours(path, size_hw=size_hw))


def read_panoptic_colours(path: str | Path, *, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Read a colour-coded panoptic PNG as it is.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: unreadable file, not three channels, wrong size.
    """
    image = decode(path)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise UserError(f"{path}: a panoptic map has the channels R, G, B, this file has mode {image.mode}")
    colours = np.asarray(image.convert("RGB"))
    check_size(path, colours.shape[:2], size_hw)
    return colours


def panoptic_ids(colours: np.ndarray) -> np.ndarray:
    """Return the segment ids (H, W) int32 of panoptic colours (H, W, 3): R + 256 G + 65536 B."""
    channels = colours.astype(np.int32)
    return channels[..., 0] + 256 * channels[..., 1] + 65536 * channels[..., 2]


def places_of_ids(ids: np.ndarray, known: Sequence[int]) -> np.ndarray:
    """Return the place of each id among the known ones, len(known) for others; of an id listed twice the last place.

    Args:
        ids: whole numbers from 0, any shape. They may lie billions apart.
        known: ids in any order.

    Returns:
        int64 of the shape of ``ids``.
    """
    largest = int(ids.max(initial=0))
    if largest < _LARGEST_TABLE:
        table = np.full(largest + 1, len(known), dtype=np.int64)
        for place, known_id in enumerate(known):
            if 0 <= known_id <= largest:
                table[known_id] = place
        return table[ids]
    present, inverse = np.unique(ids, return_inverse=True)
    place_of = {int(known_id): place for place, known_id in enumerate(known)}
    places = np.array([place_of.get(value, len(known)) for value in present.tolist()], dtype=np.int64)
    return places[inverse].reshape(ids.shape)


def read_json(path: str | Path, limit: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file of at most ``limit`` bytes. Whole numbers in it have 64 bits.

    Raises:
        UserError: file missing, no regular file, too large, unreadable or not JSON (tells line and column), nested too
            deeply, or with larger numbers.
    """
    with open_regular(path, limit) as file:
        try:
            return json.loads(file.read().decode("utf-8-sig"), parse_int=_whole_number)
        except RecursionError:
            raise UserError(f"{path}: cannot be read as JSON: it is nested too deeply") from None
        except MemoryError:
            raise UserError(f"{path}: cannot be read as JSON: it does not fit into memory") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as JSON: {first_line(error)}") from None


def _whole_number(digits: str) -> int:
    # The length first: Python takes long to convert some thousands of digits, and refuses more.
    if len(digits) > 20 or not -_INT64 <= (number := int(digits)) < _INT64:
        raise ValueError(f"a whole number of {len(digits)} digits, more than 64 bits hold")
    return number


def check_size(path: str | Path, found_hw: tuple[int, ...], size_hw: tuple[int, int] | None) -> None:
    """Compare the size of an annotation with that of its image.

    Raises:
        UserError: they differ.
    """
    if size_hw is not None and tuple(found_hw) != tuple(size_hw):
        (h, w), (height, width) = found_hw, size_hw
        raise UserError(
            f"{path}: {h}x{w} (height x width), but its image is {height}x{width}; make it again from this image"
        )


def check_labels(labels: np.ndarray, num_classes: int, ignore_label: int | None, path: str | Path) -> None:
    """Check that all labels are classes or ``ignore_label``.

    Raises:
        UserError: some are not; tells which.
    """
    wrong = (labels < 0) | (labels >= num_classes)
    if ignore_label is not None:
        wrong &= labels != ignore_label
    if wrong.any():
        found = ", ".join(map(str, np.unique(labels[wrong])[:5]))
        raise UserError(
            f"{path}: label {found} in {int(wrong.sum())} pixels; expected 0 to {num_classes - 1}"
            + ("" if ignore_label is None else f" or {ignore_label} (ignored)")
        )
