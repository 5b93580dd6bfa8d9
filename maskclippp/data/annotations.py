"""The only reader of annotation files: label maps, panoptic ids, run-length encoded masks, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskclippp.data.images import MAX_PIXELS, decode
from maskclippp.utils.errors import UserError

_ONE_CHANNEL = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")
_MAX_MASK_ELEMENTS = 4_000_000_000


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
    if image.mode not in _ONE_CHANNEL:
        raise UserError(f"{path}: a label map has one channel, this file has {len(image.getbands())} ({image.mode})")
    labels = np.asarray(image).astype(np.int32)
    check_size(path, labels.shape, size_hw)
    if num_classes is not None:
        check_labels(labels, num_classes, ignore_label, path)
    return labels


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


def read_masks(path: str | Path, *, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Read the masks of one image.

    ``.json`` is a list of ``{"segmentation": RLE}`` (COCO run-length encoding), one mask each in list order. ``.png``
    (three channels: id = R + 256 G + 65536 B; or one channel) and ``.npy`` (2-D whole numbers) are maps in which every
    distinct value is a mask, in ascending order.

    Args:
        path: mask file.
        size_hw: size of the image; checked if given, and needed for an empty list.

    Returns:
        (Q, H, W) bool; Q may be 0.

    Raises:
        UserError: unknown suffix, unreadable file, wrong or differing sizes, empty list without ``size_hw``.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        return _read_rle_list(path, size_hw)
    map_readers = {".png": _read_map_png, ".npy": _read_map_npy}
    if suffix not in map_readers:
        raise UserError(f"{path}: masks are read from .json, {', '.join(map_readers)}, not from '{suffix}'")
    id_map = map_readers[suffix](path)
    check_size(path, id_map.shape, size_hw)
    values = np.unique(id_map)
    _check_count(path, len(values), id_map.shape)
    return id_map[None] == values[:, None, None]  # (Q, H, W)


def decode_rle(segmentation: Any, where: str) -> np.ndarray:
    """Decode a COCO run-length encoding, compressed or not.

    Args:
        segmentation: ``{"size": [H, W], "counts": text or list}``.
        where: file and index, for the message.

    Returns:
        (H, W) bool.

    Raises:
        UserError: not a run-length encoding, or counts that do not fill the size.
    """
    size, counts = (segmentation.get(key) if isinstance(segmentation, dict) else None for key in ("size", "counts"))
    if not _is_size(size) or not isinstance(counts, str | bytes | list):
        raise UserError(f"{where}: not a COCO run-length encoding; expected {{'size': [H, W], 'counts': ...}}")
    height, width = size
    try:
        rle = {"size": [height, width], "counts": counts}
        if isinstance(counts, list):
            if sum(counts) != height * width:
                raise ValueError(f"counts add up to {sum(counts)}, not to {height}x{width}")
            rle = coco_mask.frPyObjects(rle, height, width)
        mask = coco_mask.decode(rle).astype(bool)
        # Counts that end too early leave the rest of the decoded array uninitialised.
        if int(coco_mask.area(rle)) != int(mask.sum()):
            raise ValueError(f"counts do not fill {height}x{width}")
        return mask
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{where}: broken run-length encoding: {error}") from error


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: file missing, unreadable or not JSON; tells line and column.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error


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


def _read_rle_list(path: str | Path, size_hw: tuple[int, int] | None) -> np.ndarray:
    entries = read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path}: expected a list of {{'segmentation': RLE}}, found {type(entries).__name__}")
    if not entries:
        if size_hw is None:
            raise UserError(f"{path}: the list of masks is empty and the image size is not known; give the size")
        return np.zeros((0, *size_hw), dtype=bool)
    masks: list[np.ndarray] = []
    for index, entry in enumerate(entries):
        segmentation = entry.get("segmentation") if isinstance(entry, dict) else None
        mask = decode_rle(segmentation, f"{path}, entry {index}")
        size_hw = size_hw or mask.shape
        check_size(f"{path}, entry {index}", mask.shape, size_hw)
        _check_count(path, len(entries), size_hw)
        masks.append(mask)
    return np.stack(masks)


def _read_map_png(path: str | Path) -> np.ndarray:
    return read_label_map(path) if decode(path).mode in _ONE_CHANNEL else read_panoptic_ids(path)


def _read_map_npy(path: str | Path) -> np.ndarray:
    try:
        id_map = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a NumPy array: {error}") from error
    if id_map.ndim != 2 or not (np.issubdtype(id_map.dtype, np.integer) or id_map.dtype == bool):
        raise UserError(f"{path}: expected a 2-D array of whole numbers, found shape {id_map.shape} of {id_map.dtype}")
    return id_map


def _check_count(path: str | Path, count: int, size_hw: tuple[int, ...]) -> None:
    if count * size_hw[0] * size_hw[1] > _MAX_MASK_ELEMENTS:
        raise UserError(f"{path}: {count} masks of {size_hw[0]}x{size_hw[1]} are too many; is this a label map?")


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(side, int) and side > 0 for side in size)
        and size[0] * size[1] <= MAX_PIXELS
    )
