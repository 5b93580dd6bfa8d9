"""Files of masks that another program has written."""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image

from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.data.run_length import encode_rle
from maskclippp.utils.errors import UserError

from .case import Case, Surroundings
from .mutations import damage_bytes, damage_tree, json_text

SIZE = (12, 16)


def masks_case(around: Surroundings) -> Case:
    """A damaged file of masks: of one picture, or of all."""
    rng = around.rng
    suffix = rng.choice((".json", ".json", ".json", ".npy", ".npy", ".png"))
    path = around.folder / f"a{suffix}"
    path.write_bytes({".json": _json, ".npy": _npy, ".png": _png}[suffix](rng))
    size = rng.choice((None, SIZE))
    record = {"file_name": "images/a.jpg", "height": SIZE[0], "width": SIZE[1], "image_id": 1}

    def read() -> None:
        refused = None
        try:
            read_masks(path, size_hw=size)
        except UserError as error:
            refused = error
        if suffix == ".json":
            MaskTable.read(path).masks(record)
        if refused is not None:
            raise refused

    return Case(read, (path.name,))


def _masks(rng: random.Random) -> np.ndarray:
    return np.random.default_rng(rng.randrange(2**32)).random((3, *SIZE)) > 0.5


def _json(rng: random.Random) -> bytes:
    entries = [
        {"image_id": 1, "segmentation": rle, "score": 0.5, "area": 9, "bbox": [0, 0, 4, 4], "id": number}
        for number, rle in enumerate(encode_rle(_masks(rng)))
    ]
    entries.append({"image_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "category_id": 1})
    images = [{"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}]
    labelme = {"shapes": [{"label": "dog", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}]}
    tree = rng.choice((entries, entries, {"images": images, "annotations": entries}, labelme))
    content = json_text(damage_tree(rng, tree)).encode("utf-8", "surrogatepass")
    return damage_bytes(rng, content) if rng.random() < 0.2 else content


def _npy(rng: random.Random) -> bytes:
    numbers = np.random.default_rng(rng.randrange(2**32))
    array = rng.choice(
        (
            numbers.integers(0, 5, SIZE),
            numbers.integers(0, 2**62, SIZE),
            np.array([[0, 2_000_000_000]], dtype=np.int64),
            np.array([[0, 2**64 - 1]], dtype=np.uint64),
            numbers.random(SIZE),
            np.zeros((0, 5), dtype=np.int32),
            np.array([[None, "a"]], dtype=object),
            np.zeros(SIZE, dtype=[("a", "i4"), ("b", "f4")]),
            np.zeros(SIZE, dtype="U3"),
            np.zeros((2, *SIZE), dtype=bool),
            np.array(5),
        )
    )
    buffer = io.BytesIO()
    if rng.random() < 0.15:
        np.savez(buffer, array)
    else:
        np.save(buffer, array, allow_pickle=True)
    content = buffer.getvalue()
    if rng.random() < 0.3:
        claimed = rng.choice(
            (b"(99999999999, 99999999999)", b"(-1, 5)", b"(((((5)))))", b"(1e9, 2)", b"(4000000000, 0)")
        )
        return content.replace(str(array.shape).encode(), claimed, 1)
    return damage_bytes(rng, content) if rng.random() < 0.7 else content


def _png(rng: random.Random) -> bytes:
    numbers, buffer = np.random.default_rng(rng.randrange(2**32)), io.BytesIO()
    large = rng.random() < 0.2
    shape = (600, 700) if large else SIZE
    pixels = rng.choice(
        (
            numbers.integers(0, 5, shape, dtype=np.uint8),
            numbers.integers(0, 2**16, shape, dtype=np.uint16),
            numbers.integers(0, 256, (*shape, 3), dtype=np.uint8),
        )
    )
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue() if large else damage_bytes(rng, buffer.getvalue())
