"""Label maps of PASCAL VOC: indices, or the colours of its palette."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from maskclippp.utils.errors import UserError

from ..annotations import check_labels, read_label_map
from ..datasets.palette import palette
from ..images import decode

NUM_CLASSES, VOID = 21, 255


def read_voc_map(path: Path) -> np.ndarray:
    """Read a label map of VOC: as published (indices with a palette), or in colours.

    Indices are taken by their colours if all of these are VOC's: programs that save pictures anew number the palette
    in another way.

    Returns:
        (H, W) int32, 0 (background) to 20, and 255 (void).

    Raises:
        UserError: unreadable file, a colour that is not VOC's, or an index out of range.
    """
    image = decode(path)
    if image.mode in ("RGB", "RGBA"):
        return _classes_of_colours(np.asarray(image.convert("RGB")), path)
    if image.mode == "P" and (table := _class_of_index(image)) is not None:
        return table[np.asarray(image)]
    labels = read_label_map(path)
    check_labels(labels, NUM_CLASSES, VOID, path)
    return labels


@lru_cache(maxsize=1)
def _classes() -> dict[int, int]:
    """Return {colour as R + 256 G + 65536 B: class}; the palette counts 21 classes, and 255 is void."""
    colours = {0: (0, 0, 0), **dict(enumerate(palette(VOID), start=1))}
    return {int(np.dot(colours[i], (1, 256, 65536))): i for i in (*range(NUM_CLASSES), VOID)}


def _class_of_index(image: Image.Image) -> np.ndarray | None:
    """Return class by palette index (256,), None if a colour in use is not VOC's."""
    colours = np.zeros((256, 3), np.int64)
    given = np.array(image.getpalette("RGB")).reshape(-1, 3)[:256]
    colours[: len(given)] = given
    used = np.unique(np.asarray(image))
    classes = [_classes().get(int(colour @ (1, 256, 65536))) for colour in colours[used]]
    if None in classes:
        return None
    table = np.full(256, VOID, np.int32)
    table[used] = classes
    return table


def _classes_of_colours(colours: np.ndarray, path: Path) -> np.ndarray:
    """Return the classes (H, W) of colours (H, W, 3)."""
    codes = colours.astype(np.int32) @ np.array((1, 256, 65536), np.int32)  # (H, W)
    present, position, counts = np.unique(codes, return_inverse=True, return_counts=True)
    classes = np.array([_classes().get(code, -1) for code in present.tolist()], np.int32)
    wrong = np.flatnonzero(classes < 0)
    if len(wrong):
        code = int(present[wrong[0]])
        found = f"({code % 256}, {code // 256 % 256}, {code // 65536})"
        others = f", like {len(wrong) - 1} other colours" if len(wrong) > 1 else ""
        raise UserError(
            f"{path}: colour {found} in {int(counts[wrong].sum())} pixels is none of PASCAL VOC's{others}; "
            "use the published PNG, not a resized or JPEG copy"
        )
    return classes[position.reshape(codes.shape)]
