"""Pictures for people: a scene, its ground truth, and what two models call its masks."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

ZOOM = 2
OVERLAY = 0.65


@dataclass(frozen=True)
class GalleryEntry:
    """One scene.

    Attributes:
        image: (H, W, 3) uint8.
        truth: (H, W) class ids; ``ignore`` where there is none.
        classes: the Q classes of the truth that are masks, ascending.
        before, after: the Q classes that the two models give to these masks.
        ignore: the id of unlabelled pixels.
    """

    image: np.ndarray
    truth: np.ndarray
    classes: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    ignore: int = 255


@dataclass(frozen=True)
class SegmentedScene:
    """One scene that two models have found and named the masks of.

    Attributes:
        image: (H, W, 3) uint8.
        truth, before, after: (H, W) class ids; ``ignore`` where there is none.
        ignore: the id of unlabelled pixels.
    """

    image: np.ndarray
    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray
    ignore: int = 255


def paint(entry: GalleryEntry, predicted: tuple[int, ...], colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Lay the colours of the predicted classes over the true masks of a picture; see :func:`paint_labels`."""
    labels = entry.truth.copy()
    for true_class, predicted_class in zip(entry.classes, predicted, strict=True):
        labels[entry.truth == true_class] = predicted_class
    return paint_labels(entry.image, labels, colors, entry.ignore, regions=entry.truth)


def paint_labels(
    image: np.ndarray,
    labels: np.ndarray,
    colors: Sequence[tuple[int, int, int]],
    ignore: int,
    regions: np.ndarray | None = None,
) -> np.ndarray:
    """Lay the colours of classes over a picture.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) class ids; ``ignore`` is painted dark.
        colors: of each class.
        ignore: the id of unlabelled pixels.
        regions: (H, W), what gets white borders; by default the labels.

    Returns:
        (H * ZOOM, W * ZOOM, 3) uint8.
    """
    picture = original(image).astype(np.float32)
    large = _enlarge(labels.astype(np.int32), Image.Resampling.NEAREST)
    borders = large if regions is None else _enlarge(regions.astype(np.int32), Image.Resampling.NEAREST)
    table = np.zeros((max(ignore, len(colors)) + 1, 3), np.float32)
    table[: len(colors)] = colors
    mixed = OVERLAY * table[large] + (1 - OVERLAY) * picture
    mixed[large == ignore] = picture[large == ignore] * 0.4
    mixed[find_boundaries(borders, mode="inner")] = 255
    return mixed.astype(np.uint8)


def original(image: np.ndarray) -> np.ndarray:
    """Return a picture (H, W, 3) uint8, enlarged."""
    return _enlarge(image, Image.Resampling.BICUBIC)


def to_data_uri(picture: np.ndarray) -> str:
    """Return a PNG as a ``data:`` address, so that a page needs no other file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _enlarge(array: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    height, width = array.shape[:2]
    return np.asarray(Image.fromarray(array).resize((width * ZOOM, height * ZOOM), resampling))
