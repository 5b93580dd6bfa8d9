"""Instance files in normal form: what matches, what is filled in, what is left out, what is refused."""

from __future__ import annotations

import copy
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskclippp.data.datasets import DATASETS, get_dataset, register_all
from maskclippp.data.inspection.presence import find
from maskclippp.data.instance_json import read_instances
from maskclippp.data.run_length import encode_rle
from maskclippp.utils.errors import UserError

SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]
MASK = np.zeros((12, 16), bool)
MASK[3:9, 2:8] = True
RLE = encode_rle(MASK[None])[0]
UNCOMPRESSED = {"size": [12, 16], "counts": [27, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 99]}
CONTENT = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "height": 12, "width": 16},
        {"id": 2, "file_name": "b.jpg", "height": 12, "width": 16},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 5, "segmentation": [SQUARE], "bbox": [2, 3, 6, 6], "area": 36.0},
        {"id": 2, "image_id": 1, "category_id": 7, "segmentation": RLE, "bbox": [2, 3, 6, 6], "area": 36.0},
    ],
    "categories": [{"id": 5, "name": "cat"}, {"id": 7, "name": "dog"}],
}
Change = Callable[[Any, Any, Any], Any]


@pytest.fixture
def read(tmp_path: Path):
    """Change the file by a function of its three lists, write and read it."""

    def change_and_read(change: Change):
        content = copy.deepcopy(CONTENT)
        change(*content.values())
        (tmp_path / "i.json").write_text(json.dumps(content))
        return read_instances(tmp_path / "i.json")

    return change_and_read


@pytest.mark.parametrize(
    "change",
    [
        lambda i, a, c: None,
        lambda i, a, c: [entry.update(id=number) for number, entry in enumerate(a)],
        lambda i, a, c: [entry.update(id="7") for entry in a],
        lambda i, a, c: [entry.pop("id") for entry in a],
        lambda i, a, c: a[0].update(id=True),
        lambda i, a, c: [entry.update(image_id="1", category_id=str(entry["category_id"])) for entry in a],
        lambda i, a, c: [entry.update(image_id=1.0, category_id=float(entry["category_id"])) for entry in a],
        lambda i, a, c: [entry.update(image_id="0001") for entry in a],
        lambda i, a, c: [entry.update(id=str(entry["id"])) for entry in c],
        lambda i, a, c: [entry.update(id=float(entry["id"])) for entry in (*c, *i)],
        lambda i, a, c: i[0].update(height=12.0, width=16.0),
        lambda i, a, c: [entry.pop("area") for entry in a],
        lambda i, a, c: [entry.update(area=None, bbox=None, iscrowd=None) for entry in a],
        lambda i, a, c: [entry.pop("bbox") for entry in a],
        lambda i, a, c: [entry.update(iscrowd=False) for entry in a],
        lambda i, a, c: c.reverse(),
        lambda i, a, c: a[1].update(segmentation=UNCOMPRESSED, area=None, bbox=None),
    ],
)
def test_spellings_of_one_file(read, change: Change) -> None:
    """Come to the same content."""
    found = read(change)
    assert [image["id"] for image in found.images] == [1, 2] and found.left_out == ""
    assert type(found.images[0]["height"]) is int and type(found.images[0]["id"]) is int
    assert [category["id"] for category in found.categories] == [5, 7]
    keys = ("id", "image_id", "category_id", "iscrowd", "area", "bbox")
    values = [[entry[key] for key in keys] for entry in found.annotations]
    assert values == [[1, 1, 5, 0, 36.0, [2, 3, 6, 6]], [2, 1, 7, 0, 36.0, [2, 3, 6, 6]]]
    assert found.annotations[0]["segmentation"] == [SQUARE] and list(found.annotations_by_image()) == [1]


def test_image_ids_may_be_texts_and_ids_may_be_far_apart(read) -> None:
    def change(images, annotations, categories) -> None:
        images[0]["id"], images[1]["id"] = "ADE_1", "007"
        annotations[0]["image_id"], annotations[1]["image_id"] = "ADE_1", 7
        categories[0]["id"], categories[1]["id"] = 0, 2_000_000_000
        annotations[0]["category_id"], annotations[1]["category_id"] = 2_000_000_000, 0

    found = read(change)
    assert [entry["image_id"] for entry in found.annotations] == ["ADE_1", "007"]
    assert [entry["category_id"] for entry in found.annotations] == [2_000_000_000, 0]


@pytest.mark.parametrize(
    ("shape", "kept", "said"),
    [
        ([[8, 8, 8, 12], SQUARE], [SQUARE], "left out 1 polygons"),
        ([SQUARE, [], [1, 2, 3, 4, 5, 6, 7]], [SQUARE], "left out 2 polygons"),
        (
            [[]],
            None,
            r"left out 1 polygons .*, and with them 1 annotations that have no others, first annotations\[0\]",
        ),
        ([[1, 2, 3, 4], [1, 2]], None, "left out 2 polygons .* with them 1 annotations"),
    ],
)
def test_what_is_left_out_is_counted(read, shape: list, kept: list | None, said: str) -> None:
    """As detectron2's loader leaves it out."""
    found = read(lambda i, a, c: a[0].update(segmentation=shape))
    shapes = [entry["segmentation"] for entry in found.annotations]
    assert shapes == ([RLE] if kept is None else [kept, RLE])
    assert [entry["id"] for entry in found.annotations] == list(range(1, len(shapes) + 1))
    assert re.search(said, found.left_out)


NAN, INFINITE = float("nan"), float("inf")


def first(**values: Any) -> Change:
    """Change the first annotation."""
    return lambda i, a, c: a[0].update(values)


def image(**values: Any) -> Change:
    """Change the second image."""
    return lambda i, a, c: i[1].update(values)


REFUSED = [
    (lambda i, a, c: i[1].update(id=1), r"images\[1\]: id 1 is also that of images\[0\] \(1\)"),
    (image(id="1"), r"images\[1\]: id '1' is also that of images\[0\] \(1\)"),
    (image(id=1.0), r"images\[1\]: id 1.0 is also"),
    (image(id=None), r"images\[1\]: its 'id' is None"),
    (image(id=True), r"images\[1\]: its 'id' is True"),
    (image(id=1.5), r"images\[1\]: its 'id' is 1.5"),
    (image(id=NAN), r"images\[1\]: its 'id' is nan"),
    (image(id=[1]), r"images\[1\]: its 'id' is \[1\]"),
    (image(id=""), r"images\[1\]: its 'id' is ''"),
    (lambda i, a, c: i[1].pop("id"), r"images\[1\]: its 'id' is None"),
    (image(file_name=3), r"images\[1\]: its 'file_name' is 3"),
    (image(file_name="a.jpg"), r"images\[1\]: its picture 'a.jpg' is also that of images\[0\]"),
    (image(file_name="./a.jpg"), r"images\[1\]: its picture './a.jpg' is also that of images\[0\]"),
    (image(file_name="a\0b"), r"images\[1\]: its 'file_name'"),
    (lambda i, a, c: i.append("c.jpg"), r"images\[2\]: 'c.jpg' in place of an entry"),
    (lambda i, a, c: i[1].pop("height"), r"images\[1\]: its 'height' is None"),
    *(
        (image(width=side), r"images\[1\]: its 'width' is")
        for side in (0, -3, 1.5, NAN, INFINITE, 1e9, "16", [16], True)
    ),
    (image(width=20_000, height=20_000), r"images\[1\]: 20000x20000 .* more than 80000000 pixels"),
    (lambda i, a, c: c.append({"id": "7"}), r"categories\[2\]: id 7 is also that of categories\[1\]"),
    (lambda i, a, c: c[1].update(id="dog"), r"categories\[1\]: its 'id' is 'dog'; expected a whole number"),
    (lambda i, a, c: c[1].update(id=True), r"categories\[1\]: its 'id' is True"),
    (lambda i, a, c: c[1].pop("id"), r"categories\[1\]: its 'id' is None"),
    (lambda i, a, c: c.clear(), "its list of categories is empty"),
    (lambda i, a, c: a.append(None), r"annotations\[2\]: None in place of an entry"),
    (first(image_id=3), r"annotations\[0\]: image_id 3 is not among the images"),
    (first(image_id=True), r"annotations\[0\]: image_id True is not among"),
    (first(image_id=[1]), r"annotations\[0\]: image_id \[1\] is not among"),
    (lambda i, a, c: a[0].pop("image_id"), r"annotations\[0\]: its image_id is missing"),
    (first(category_id=6), r"annotations\[0\]: category_id 6 is not among the categories"),
    (first(category_id=None), r"annotations\[0\]: category_id None is not among"),
    (lambda i, a, c: a[0].pop("category_id"), r"annotations\[0\]: its category_id is missing"),
    *((first(iscrowd=value), r"annotations\[0\]: its 'iscrowd' is") for value in (2, -1, 0.5, "no", [0], NAN)),
    (first(ignore=1), r"annotations\[0\]: 'ignore' is not supported"),
    *((first(area=value), r"annotations\[0\]: its 'area' is") for value in (-1, NAN, INFINITE, 1e12, "36", [36], True)),
    *((first(bbox=value), r"annotations\[0\]: its 'bbox' is") for value in ([], [1, 2, 3], "box", {}, 3)),
    *(
        (first(bbox=[2, 3, value, 6]), r"annotations\[0\], bbox: .* is no coordinate")
        for value in (None, NAN, INFINITE, -INFINITE, 1e8, "6", [6], True)
    ),
    (first(bbox=[2, 3, -6, 6]), r"annotations\[0\]: its 'bbox' .* has a negative side"),
    (lambda i, a, c: a[0].pop("segmentation"), r"annotations\[0\]: it has no mask"),
    *((first(segmentation=value), r"annotations\[0\]: it has no mask") for value in (None, [], {})),
    *((first(segmentation=value), r"annotations\[0\]: 'segmentation' is") for value in ("text", 3, True)),
    (first(segmentation=SQUARE), r"annotations\[0\]: 2 in place of polygon 0; .* a list of polygons"),
    (first(segmentation=[None]), r"annotations\[0\]: None in place of polygon 0"),
    (first(segmentation=[[[2, 3], [8, 3], [8, 9]]]), r"annotations\[0\], polygon 0: \[2, 3\] is no coordinate"),
    *(
        (first(segmentation=[SQUARE, [*SQUARE[:5], value]]), r"annotations\[0\], polygon 1: .* is no coordinate")
        for value in (None, NAN, INFINITE, -INFINITE, 1e8, -1e8, 33, -17, "9", [9], True, 10**18)
    ),
    (first(segmentation=[[0, 0, 16, 12] * 20_000]), r"annotations\[0\]: its outline is .* pixels long"),
    (first(segmentation={"size": [12, 16]}), r"annotations\[0\]: not a COCO run-length encoding"),
    (first(segmentation={"counts": "abc"}), r"annotations\[0\]: not a COCO run-length encoding"),
    (first(segmentation=encode_rle(MASK.T[None])[0]), r"annotations\[0\]: 16x12 .* its image is 12x16"),
    (first(segmentation=RLE | {"size": [6, 32]}), r"annotations\[0\]: 6x32 .* its image is 12x16"),
    (first(segmentation=RLE | {"size": [12, 15]}), r"annotations\[0\]: broken run-length encoding: .* add up to 192"),
    *(
        (first(segmentation={"size": [12, 16], "counts": value}), r"annotations\[0\]: (broken|not a COCO) run-length")
        for value in (
            [191],
            [193],
            [-1, 193],
            [2**40, 1],
            [96.0, 96.0],
            [True] * 192,
            [None],
            ["192"],
            [],
            "",
            "\u00e9\u4e2d",
            "oooooooooooooooo",
            "P" * 64,
            "~" * 9,
            RLE["counts"][:-1],
            RLE["counts"] + "0\x00",
            192,
            {},
        )
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_is_refused(read, tmp_path: Path, change: Change, message: str) -> None:
    """When the file is read, in one line with list and index."""
    with pytest.raises(UserError, match=message) as error:
        read(change)
    assert str(error.value).startswith(str(tmp_path / "i.json")) and "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, {}, "absent"])
def test_lists_that_are_missing(tmp_path: Path, key: str, value: Any) -> None:
    content = CONTENT | {key: value}
    if value == "absent":
        del content[key]
    (tmp_path / "i.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"i\.json: not a COCO instance file: it has no list '{key}'"):
        read_instances(tmp_path / "i.json")


def test_random_damage_is_read_or_refused(tmp_path: Path) -> None:
    """Any value in any place: a normal form, or one line."""
    rng = np.random.RandomState(0)
    values = [
        None,
        True,
        -1,
        0,
        1.5,
        1e8,
        1e300,
        NAN,
        INFINITE,
        2_000_000_000,
        "",
        "1",
        "x",
        "\0",
        [],
        [[]],
        {},
        [NAN] * 8,
    ]
    refused = 0
    for _ in range(600):
        content = copy.deepcopy(CONTENT)
        entry = content[rng.choice(list(content))]
        while isinstance(entry, dict | list) and entry:
            parent, key = (
                entry,
                list(entry)[rng.randint(len(entry))] if isinstance(entry, dict) else rng.randint(len(entry)),
            )
            entry = parent[key]
            if rng.rand() < 0.3:
                break
        parent[key] = values[rng.randint(len(values))]
        (tmp_path / "i.json").write_text(json.dumps(content))
        try:
            read_instances(tmp_path / "i.json")
        except UserError as error:
            refused += "\n" not in str(error)
    assert 300 < refused < 600


@pytest.fixture
def toy(tiny_toy_instances: Path):
    """Change the toy instance file by a function of its first annotation; return the datasets root."""

    def change(edit: Callable[[dict], Any]) -> Path:
        path = tiny_toy_instances / "toy/instance_val.json"
        content = json.loads(path.read_text())
        edit(content["annotations"][0])
        path.write_text(json.dumps(content))
        register_all(str(tiny_toy_instances))
        return tiny_toy_instances

    yield change
    register_all()


def test_records_are_as_detectron2_makes_them(toy) -> None:
    root = toy(lambda annotation: annotation.pop("area"))
    [record] = get_dataset("toy_instance_val")
    [annotation] = record["annotations"]
    assert sorted(annotation) == ["bbox", "bbox_mode", "category_id", "iscrowd", "segmentation"]
    assert record["file_name"] == str(root / "toy/images/validation/0.jpg") and record["image_id"] == 5


def test_the_loader_says_what_it_leaves_out(toy, caplog) -> None:
    toy(lambda annotation: annotation.update(segmentation=[[1, 1, 2, 2], [2, 3, 8, 3, 8, 9]]))
    with caplog.at_level(logging.WARNING):
        [record] = get_dataset("toy_instance_val")
    assert record["annotations"][0]["segmentation"] == [[2, 3, 8, 3, 8, 9]]
    assert "toy_instance_val: " in caplog.text and "left out 1 polygons" in caplog.text


def test_boxes_without_masks_are_refused_by_check_and_loader_alike(toy) -> None:
    root = toy(lambda annotation: annotation.pop("segmentation"))
    with pytest.raises(UserError, match=r"annotations\[0\]: it has no mask"):
        get_dataset("toy_instance_val")
    found = find(DATASETS["toy_instance_val"], root)
    assert found.broken and "annotations[0]: it has no mask" in found.missing[0]
