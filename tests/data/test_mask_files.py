"""Masks of all images in one file, and those of one image as Segment Anything's data has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.data.run_length import encode_rle
from maskclippp.utils.errors import UserError

MASKS = np.random.RandomState(0).rand(4, 3, 5) > 0.5
ENTRIES = [{"segmentation": rle, "score": 0.9} for rle in encode_rle(MASKS)]


def record(name: str, **more: Any) -> dict[str, Any]:
    """A record of a picture of 3 x 5 pixels."""
    return {"file_name": name, "height": 3, "width": 5, **more}


@pytest.fixture
def write(tmp_path: Path):
    """Write JSON and return the path."""

    def write_json(content: Any) -> Path:
        (tmp_path / "masks.json").write_text(json.dumps(content))
        return tmp_path / "masks.json"

    return write_json


def entries(*more: dict[str, Any]) -> list[dict[str, Any]]:
    """The first entries, each with something more."""
    return [entry | keys for entry, keys in zip(ENTRIES, more, strict=False)]


def test_results_by_image_id(write) -> None:
    """COCO results: numbers and zero-padded file names are the same id; an image without results has no masks."""
    table = MaskTable.read(write(entries({"image_id": 139}, {"image_id": 7}, {"image_id": 139}, {"image_id": "x_1"})))
    assert (table.masks(record("a/000000000139.jpg")) == MASKS[[0, 2]]).all()
    assert (table.masks(record("a/b.jpg", image_id="007")) == MASKS[[1]]).all()
    assert (table.masks(record("a/x_1.png")) == MASKS[[3]]).all()
    assert table.masks(record("a/8.jpg")).shape == (0, 3, 5)


def test_an_image_without_results_is_told(write, caplog) -> None:
    """As it may as well be the wrong file."""
    path = write(entries({"image_id": 1}))
    MaskTable.read(path).masks(record("a/8.jpg"))
    assert f"a/8.jpg: no masks in {path}" in caplog.text


def test_results_by_file_name(write) -> None:
    """Folders matter only where names repeat."""
    names = ["val/a.jpg", "b.jpg", "train/a.jpg", "val/a.jpg"]
    table = MaskTable.read(write(entries(*[{"file_name": name, "image_id": 0} for name in names])))
    assert (table.masks(record("/data/val/a.jpg")) == MASKS[[0, 3]]).all()
    assert (table.masks(record("/data/train/a.jpg")) == MASKS[[2]]).all()
    assert (table.masks(record("/data/val/b.png")) == MASKS[[1]]).all()
    with pytest.raises(UserError, match=r"a\.jpg: .*masks\.json has several images of this name"):
        table.masks(record("/data/test/a.jpg"))


def test_a_list_of_images_must_be_complete(write) -> None:
    """A file that names its images can tell none from missing."""
    images = [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "b.jpg"}]
    path = write({"images": images, "annotations": entries({"image_id": 3}, {"image_id": 3})})
    table = MaskTable.read(path)
    assert (table.masks(record("data/a.jpg", image_id=4)) == MASKS[:2]).all()  # the dataset has numbers of its own
    assert table.masks(record("data/b.jpg")).shape == (0, 3, 5)
    with pytest.raises(UserError, match=r"data/c\.jpg: no masks in .*masks\.json"):
        table.masks(record("data/c.jpg"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"results": []}, "found dict without 'annotations'"),
        ({"annotations": 3}, "found dict without 'annotations'"),
        ("text", "found str"),
        ([3], "entry 0: it has neither 'image_id' nor 'file_name'"),
        ([{"segmentation": ENTRIES[0]["segmentation"]}], "entry 0: it has neither"),
        ({"images": [{"file_name": "a.jpg"}], "annotations": []}, r"images\[0\]: it has no 'id'"),
        (
            {"images": [{"id": 1}, {"id": "01"}], "annotations": []},
            r"images\[1\]: id '01' is that of an image before it",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "./a.jpg"}], "annotations": []},
            r"images\[1\]: its picture './a.jpg' is that of",
        ),
        ({"images": [{"id": 1}], "annotations": [{"image_id": 2}]}, "entry 0: image_id 2 is not among the images"),
    ],
)
def test_other_files(write, content: Any, message: str) -> None:
    """Are refused when read."""
    with pytest.raises(UserError, match=rf"masks\.json.*{message}"):
        MaskTable.read(write(content))


def test_ids_of_another_numbering_are_refused(write) -> None:
    """The dataset counts from 0, the file as the pictures are called: some pictures would get masks of others."""
    path = write(entries({"image_id": 1}, {"image_id": 2}))
    table = MaskTable.read(path)
    assert (table.masks(record("1.jpg", image_id=0)) == MASKS[[0]]).all()
    with pytest.raises(UserError, match=r"2\.jpg: .*masks\.json has masks for the image_id of some pictures, and for"):
        table.masks(record("2.jpg", image_id=1))
    table = MaskTable.read(path)
    for image_id, name in ((1, "x.jpg"), (2, "1.jpg")):
        assert (table.masks(record(name, image_id=image_id)) == MASKS[[image_id - 1]]).all()


def test_broken_masks_are_found_when_asked_for(write) -> None:
    """With the place in the file."""
    broken = {"size": [3, 5], "counts": "PPPPP"}
    other_size = encode_rle(np.ones((1, 5, 3)))[0]
    polygon = [[0, 0, 1, 1, 2, 2e9]]
    shapes = [broken, other_size, polygon, None]
    table = MaskTable.read(write([{"image_id": i, "segmentation": shape} for i, shape in enumerate(shapes)]))
    messages = [
        "0: broken run-length",
        "1: 5x3 .* its image is 3x5",
        "2, polygon 0: 2000000000.0 is no",
        "3: not a COCO",
    ]
    for number, message in enumerate(messages):
        with pytest.raises(UserError, match=rf"masks\.json, entry {message}"):
            table.masks(record(f"{number}.jpg"))


def test_masks_of_one_image_as_a_dict(write) -> None:
    """As in SA-1B; other keys do not matter."""
    path = write({"image": {"image_id": 1, "height": 3, "width": 5}, "annotations": ENTRIES})
    assert (read_masks(path, size_hw=(3, 5)) == MASKS).all()
    assert read_masks(write({"annotations": []}), size_hw=(3, 5)).shape == (0, 3, 5)


def test_polygons_as_masks(write, caplog) -> None:
    """COCO's ground truth as a mask file; what cannot be drawn is left out, and that is said."""
    images = [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "b.jpg"}]
    square, line = [1, 0, 4, 0, 4, 2, 1, 2], [0, 0, 4, 2]
    annotations = [
        {"image_id": 3, "segmentation": [square]},
        {"image_id": 3, "segmentation": [line]},
        {"image_id": 3, "segmentation": [line, square]},
        {"image_id": 4, "segmentation": ENTRIES[0]["segmentation"]},
    ]
    path = write({"images": images, "annotations": annotations})
    expected = np.zeros((3, 5), bool)
    expected[:2, 1:4] = True
    table = MaskTable.read(path)
    assert (table.masks(record("data/a.jpg")) == np.stack([expected, expected])).all()
    assert "left out 2 polygons" in caplog.text and "2 of 3 masks remain" in caplog.text
    assert (table.masks(record("data/b.jpg")) == MASKS[:1]).all()
    path = write([{"segmentation": [square]}])
    assert (read_masks(path, size_hw=(3, 5)) == expected).all()
    with pytest.raises(UserError, match=r"entry 0: polygons do not tell the size of the picture"):
        read_masks(path)
