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


def paint(entry: GalleryEntry, predicted: tuple[int, ...], colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Lay the colours of the predicted classes over the picture, (H * ZOOM, W * ZOOM, 3) uint8, with white borders."""
    picture = _enlarge(entry.image, Image.Resampling.BICUBIC).astype(np.float32)
    truth = _enlarge(entry.truth.astype(np.int32), Image.Resampling.NEAREST)
    layer = picture.copy()
    for true_class, predicted_class in zip(entry.classes, predicted, strict=True):
        layer[truth == true_class] = colors[predicted_class]
    mixed = OVERLAY * layer + (1 - OVERLAY) * picture
    mixed[truth == entry.ignore] = picture[truth == entry.ignore] * 0.4
    mixed[find_boundaries(truth, mode="inner")] = 255
    return mixed.astype(np.uint8)


def original(entry: GalleryEntry) -> np.ndarray:
    """Return the picture itself, enlarged."""
    return _enlarge(entry.image, Image.Resampling.BICUBIC)


def to_data_uri(picture: np.ndarray) -> str:
    """Return a PNG as a ``data:`` address, so that a page needs no other file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _enlarge(array: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
    height, width = array.shape[:2]
    return np.asarray(Image.fromarray(array).resize((width * ZOOM, height * ZOOM), resampling))
