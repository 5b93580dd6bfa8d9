"""Masks from labelme's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskclippp.data.mask_files import read_masks
from maskclippp.utils.errors import UserError


@pytest.fixture
def write(tmp_path: Path):
    """Write a file of some shapes for a picture of 12 x 16 pixels and return its path."""

    def write_file(*shapes: Any, **more: Any) -> Path:
        content = {"version": "5.2.1", "imagePath": "a.jpg", "imageData": None, "imageHeight": 12, "imageWidth": 16}
        (tmp_path / "a.json").write_text(json.dumps(content | {"shapes": list(shapes)} | more))
        return tmp_path / "a.json"

    return write_file


def shape(kind: str | None, *points: Any, **more: Any) -> dict[str, Any]:
    """A shape of labelme."""
    named = {} if kind is None else {"shape_type": kind}
    return {"label": "dog", "points": list(points), "group_id": None, "flags": {}} | named | more


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """A mask of one rectangle."""
    mask = np.zeros((12, 16), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_shapes(write) -> None:
    """Polygons, rectangles by two corners in any order, circles; also without a kind, as old files have them."""
    corners = [[2, 3], [8, 3], [8, 9], [2, 9]]
    path = write(
        shape("polygon", *corners),
        shape(None, *corners),
        shape("rectangle", [8, 9.0], [2, 3]),
        shape("rectangle", *corners),
        shape("circle", [5, 6], [5, 8.6]),
    )
    masks = read_masks(path, size_hw=(12, 16))
    assert masks.shape == (5, 12, 16) and masks.dtype == bool
    assert all((mask == block(3, 2, 9, 8)).all() for mask in masks[:4])
    circle = masks[4]
    assert circle[3:9, 2:8].sum() == circle.sum() == 16 + 8  # radius 2.6 around a corner of pixels
    assert (circle == circle[::-1]).all() and circle[6, 4] and not circle[3, 2]
    assert (read_masks(path) == masks).all()  # the file tells the size


def test_shapes_of_one_group_are_one_mask(write, caplog) -> None:
    path = write(
        shape("rectangle", [0, 0], [2, 2], group_id=1),
        shape("rectangle", [8, 8], [10, 10]),
        shape("rectangle", [4, 0], [6, 2], group_id=1),
        shape("rectangle", [4, 4], [6, 6], group_id=1, label="cat"),
        shape("point", [3, 3]),
        shape("linestrip", [3, 3], [4, 4]),
    )
    masks = read_masks(path, size_hw=(12, 16))
    assert (masks[0] == (block(0, 0, 2, 2) | block(0, 4, 2, 6))).all() and len(masks) == 3
    assert "left out 2 shapes without area" in caplog.text
    assert read_masks(write(), size_hw=(12, 16)).shape == (0, 12, 16)
    assert read_masks(write(imageHeight=None, imageWidth=None), size_hw=(12, 16)).shape == (0, 12, 16)


@pytest.mark.parametrize(
    ("shapes", "more", "message"),
    [
        ([], {"imageHeight": 16, "imageWidth": 12}, "16x12 .* but its image is 12x16"),
        ([], {"imageHeight": "12"}, "imageHeight and imageWidth are"),
        ([], {"imageHeight": 0}, "imageHeight and imageWidth are"),
        ([], {"imageWidth": float("nan")}, "imageHeight and imageWidth are"),
        ([], {"shapes": {}}, "'shapes' is no list"),
        ([None], {}, r"shapes\[0\]: None in place of a shape"),
        ([shape("mask", [1, 1], [5, 5])], {}, r"shapes\[0\]: shape_type 'mask' is not read"),
        ([shape(None, [1, 1], [5, 5])], {}, r"shapes\[0\]: a polygon of 2 points has no area"),
        ([shape("rectangle", [1, 1])], {}, r"shapes\[0\]: a rectangle of 1 points has no area"),
        ([shape("circle", [1, 1])], {}, r"shapes\[0\]: a circle has two points"),
        ([shape("polygon", 3)], {}, r"shapes\[0\]: its points are \[3\]"),
        ([shape("polygon", points=None)], {}, r"shapes\[0\]: its points are None"),
        ([shape("polygon", [1, 1], [5, 5], [1, None])], {}, r"shapes\[0\]: None is no coordinate"),
        ([shape("polygon", [1, 1], [5, 5], [1, 1e8])], {}, r"shapes\[0\]: 100000000.0 is no coordinate"),
        ([shape("circle", [1, 1], [1, float("nan")])], {}, r"shapes\[0\]: nan is no coordinate"),
    ],
)
def test_wrong_files(write, shapes: list, more: dict, message: str) -> None:
    path = write(*shapes, **more)
    with pytest.raises(UserError, match=rf"a\.json.*{message}") as error:
        read_masks(path, size_hw=(12, 16))
    assert "\n" not in str(error.value)


def test_size_beyond_what_is_read(write) -> None:
    path = write(imageHeight=10**9, imageWidth=10**9)
    with pytest.raises(UserError, match=r"a\.json: 1000000000x1000000000 .* are more than"):
        read_masks(path)
