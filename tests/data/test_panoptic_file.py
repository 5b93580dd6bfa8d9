"""Panoptic files of one's own: which picture belongs to which PNG, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from maskclippp.data.datasets import DATASETS, get_dataset, register_all
from maskclippp.data.datasets.custom import custom_row
from maskclippp.data.inspection.scan import scan
from maskclippp.utils.errors import UserError

from .conftest import write_labels, write_picture

SEGMENTS = [
    {"id": 5, "category_id": 1, "area": 96, "iscrowd": 0},
    {"id": 9, "category_id": 2, "area": 96, "iscrowd": 0},
]
CATEGORIES = [{"id": 1, "name": "sky", "isthing": 0}, {"id": 2, "name": "dog", "isthing": 1}]


@pytest.fixture
def make(tmp_path):
    """Write a panoptic set of (picture, PNG) pairs below tmp_path; return the path of the file that describes it."""

    def write(pairs: list[tuple[str, str]], change=lambda content: None, **keys: str) -> str:
        ids = np.zeros((12, 16, 3), np.uint8)
        ids[:6, :, 0], ids[6:, :, 0] = 5, 9
        images, annotations = [], []
        for number, (picture, png) in enumerate(pairs, 1):
            write_picture(tmp_path / "images" / picture)
            write_labels(tmp_path / "pan" / png, ids)
            images.append({"id": number, "file_name": picture, "height": 12, "width": 16})
            infos = [dict(segment) for segment in SEGMENTS]
            annotations.append({"image_id": number, "file_name": png, "segments_info": infos})
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        change(content)
        (tmp_path / "pan.json").write_text(json.dumps(content))
        lines = {"images": "images", "panoptic": "pan.json"} | keys
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(lines))
        return str(path)

    yield write
    for name in [name for name in DatasetCatalog.list() if name.startswith(str(tmp_path))]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def pairs_of(records: list[dict[str, Any]], root: Path) -> list[tuple[str, str]]:
    folders = {"file_name": root / "images", "pan_seg_file_name": root / "pan"}
    return [tuple(str(Path(record[key]).relative_to(folder)) for key, folder in folders.items()) for record in records]


@pytest.mark.parametrize(
    "pairs",
    [
        [("image_0.jpg", "image_0_mask.png")],
        [("seq1/1.jpg", "seq1/1.png"), ("seq2/1.jpg", "seq2/1.png")],
        [("a.jpg", "b.png"), ("b.jpg", "a.png")],
        [("a.jpg", "a.png"), ("b.png", "b.png"), ("c.JPG", "c.png")],
        [("1.jpg", "x.png"), ("1.png", "y.png")],
    ],
)
def test_pictures_are_found_by_image_id(make, tmp_path, pairs) -> None:
    """Also if the lists of images and annotations are in other orders."""
    name = make(pairs, lambda content: content["images"].reverse())
    records = get_dataset(name)
    assert pairs_of(records, tmp_path) == pairs
    assert [record["image_id"] for record in records] == list(range(1, len(pairs) + 1))
    assert records[0]["names"][0] == pairs[0][0]


def test_without_a_list_of_images_the_png_tells(make, tmp_path) -> None:
    name = make([("a.jpg", "a.png")], lambda content: content.pop("images"))
    assert pairs_of(get_dataset(name), tmp_path) == [("a.jpg", "a.png")]


@pytest.mark.parametrize("after", ["pictures", "pngs"])
def test_label_maps_beside(make, tmp_path, after) -> None:
    """They are called as the pictures are, else as the PNGs; crossed names do not cross them."""
    pairs = [("seq/a.jpg", "b.png"), ("seq/b.jpg", "a_mask.png")]
    name = make(pairs, labels="labels")
    names = ["seq/a.png", "seq/b.png"] if after == "pictures" else ["b.png", "a_mask.png"]
    for each in names:
        write_labels(tmp_path / "labels" / each, np.zeros((12, 16), np.uint8))
    assert [record["sem_seg_file_name"] for record in get_dataset(name)] == [f"{tmp_path}/labels/{n}" for n in names]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("images", 1, "file_name"),
            "../images/b.jpg",
            r"annotation 1: file_name '\.\./images/b\.jpg' leaves its folder",
        ),
        (("images", 1, "file_name"), "/etc/passwd", r"annotation 1: file_name '/etc/passwd' leaves its folder"),
        (("annotations", 1, "file_name"), "x/../../b.png", r"annotation 1: file_name 'x/\.\./\.\./b\.png' leaves its"),
        (("annotations", 1, "image_id"), 7, "annotation 1: image_id 7 is not among 'images'"),
        (
            ("annotations", 1, "image_id"),
            "2",
            r"annotation 1: image_id '2' is not among 'images' \(a number and a text",
        ),
        (("annotations", 1, "image_id"), 1, "annotation 1: image 1 has an annotation already, 0; join the two"),
        (("annotations", 1, "image_id"), [1], r"annotation 1: image_id must be a whole number or a text, it is \[1\]"),
        (("images", 1, "id"), 1, "image 1 of 'images': id 1 is listed twice"),
        (("images", 1), 3, "image 1 of 'images': it has no 'id'"),
        (("annotations", 1), [], "annotation 1: must be a dict, not list"),
        (("annotations", 1, "file_name"), None, "annotation 1: file_name must be the name of the PNG, it is None"),
        (("annotations", 1, "segments_info"), None, "annotation 1, image 2: 'segments_info' must be a list"),
        (("annotations", 1, "segments_info", 1, "id"), 5, "segment 1: id 5 is listed twice, first as segment 0"),
        (("annotations", 1, "segments_info", 1, "id"), "9", "segment 1: 'id' must be a whole number, it is '9'"),
        (("annotations", 1, "segments_info", 1, "id"), 9.0, "segment 1: 'id' must be a whole number, it is 9.0"),
        (("annotations", 1, "segments_info", 1, "id"), True, "segment 1: 'id' must be a whole number, it is True"),
        (("annotations", 1, "segments_info", 1, "id"), 0, "segment 1: id 0 is not from 1 to 16777215"),
        (("annotations", 1, "segments_info", 1, "id"), -3, "segment 1: id -3 is not from 1"),
        (("annotations", 1, "segments_info", 1, "id"), 1 << 24, "segment 1: id 16777216 is not from 1"),
        (
            ("annotations", 1, "segments_info", 1, "category_id"),
            3,
            "category_id 3 of segment 9 is not in the vocabulary",
        ),
        (("annotations", 1, "segments_info", 1, "category_id"), "2", "'category_id' must be a whole number, it is '2'"),
        (("annotations", 1, "segments_info", 1, "area"), "96", "'area' must be a number of pixels, it is '96'"),
        (("annotations", 1, "segments_info", 1, "area"), -1, "'area' must be a number of pixels, it is -1"),
        (("annotations", 1, "segments_info", 1, "area"), 10**17, "'area' must be a number of pixels, it is 10000"),
        (("annotations", 1, "segments_info", 1, "area"), float("inf"), "'area' must be a number of pixels, it is inf"),
        (("annotations", 1, "segments_info", 1, "area"), float("nan"), "'area' must be a number of pixels, it is nan"),
        (("annotations", 1, "segments_info", 1, "iscrowd"), "0", "'iscrowd' must be 0 or 1, it is '0'"),
        (("annotations", 1, "segments_info", 1), "text", "segment 1: must be a dict with 'id' and 'category_id'"),
    ],
)
def test_wrong_annotations(make, tmp_path, path, value, message) -> None:
    """One line, with file and place."""

    def change(content: dict) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    name = make([("a.jpg", "a.png"), ("b.jpg", "b.png")], change)
    with pytest.raises(UserError, match=message) as error:
        get_dataset(name)
    assert str(error.value).startswith(f"{tmp_path}/pan.json, ") and "\n" not in str(error.value)


@pytest.mark.parametrize("again", ["a.jpg", "./a.jpg", "x/../a.jpg"])
def test_two_annotations_with_one_file_are_refused(make, again) -> None:
    def picture(content: dict) -> None:
        content["images"][1]["file_name"] = again

    def png(content: dict) -> None:
        content["annotations"][1]["file_name"] = again.replace("jpg", "png")

    for change, what in ((picture, "picture"), (png, "PNG")):
        with pytest.raises(UserError, match=f"annotation 1: its {what} .* is also that of annotation 0"):
            get_dataset(make([("a.jpg", "a.png"), ("b.jpg", "b.png")], change))


@pytest.mark.parametrize(("value", "thing"), [("0", False), (0.0, False), (False, False), ("1", True), (True, True)])
def test_spellings_of_isthing(make, value, thing) -> None:
    name = make([("a.jpg", "a.png")], lambda content: content.update(categories=_with_isthing(value)))
    assert custom_row(name).classes.is_thing == (False, thing)


def test_isthing_is_checked_and_told_where_it_is_missing(make, caplog) -> None:
    for value in ("no", 2, [], -1):
        name = make([("a.jpg", "a.png")], lambda content, value=value: content.update(categories=_with_isthing(value)))
        with pytest.raises(UserError, match="'isthing' of category 2 is .*; it must be 1 .things. or 0 .stuff."):
            custom_row(name)
    name = make([("a.jpg", "a.png")], lambda content: content.update(categories=_with_isthing(None)))
    assert custom_row(name).classes.is_thing == (False, True)
    assert "1 of 2 categories have no 'isthing', first category 2; they are taken as things" in caplog.text


def _with_isthing(value: Any) -> list[dict[str, Any]]:
    return [CATEGORIES[0], CATEGORIES[1] | {"isthing": value}]


@pytest.mark.parametrize("key", ["image_id", "file_name", "segments_info"])
def test_missing_keys(make, key) -> None:
    with pytest.raises(UserError, match=rf"pan\.json, annotation 0: '{key}' is missing"):
        get_dataset(make([("a.jpg", "a.png")], lambda content: content["annotations"][0].pop(key)))


@pytest.mark.parametrize("key", ["id", "category_id"])
def test_missing_keys_of_segments(make, key) -> None:
    with pytest.raises(
        UserError, match=rf"annotation 0, image 1, segment 0: '{key}' must be a whole .*, it is missing"
    ):
        get_dataset(make([("a.jpg", "a.png")], lambda content: content["annotations"][0]["segments_info"][0].pop(key)))


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("images/b.jpg", r"1 of 3 pictures are missing, first .*images/b\.jpg"),
        ("pan/b.png", r"1 of 3 panoptic PNGs are missing, first .*pan/b\.png"),
        ("labels/b.png", r"1 of 3 label maps are missing, first .*labels/b\.png"),
        ("", r"only 2 of 3 pictures .*: 1 of 3 images of .*pan\.json have no annotation, first image 2"),
    ],
)
def test_missing_parts(make, tmp_path, gone, message) -> None:
    def change(content: dict) -> None:
        if not gone:
            content["annotations"].pop(1)

    name = make([(f"{n}.jpg", f"{n}.png") for n in "abc"], change, labels="labels")
    for each in "abc":
        write_labels(tmp_path / f"labels/{each}.png", np.zeros((12, 16), np.uint8))
    if gone:
        (tmp_path / gone).unlink()
    with pytest.raises(UserError, match=message):
        get_dataset(name)
    assert [record["image_id"] for record in get_dataset(name, allow_incomplete=True)] == [1, 3]


def test_pictures_that_the_file_does_not_name_are_told(make, tmp_path, caplog) -> None:
    name = make([("a.jpg", "a.png")])
    write_picture(tmp_path / "images/more/z.jpg")
    assert len(get_dataset(name)) == 1
    assert "does not name 1 pictures below" in caplog.text and "first more/z.jpg" in caplog.text


def test_areas_in_a_scan(make) -> None:
    name = make([("a.jpg", "a.png")], lambda content: content["annotations"][0]["segments_info"][1].update(area=95))
    row, records = custom_row(name), get_dataset(name)
    (message,) = scan(row, records)
    assert "pan/a.png: 'area' of segment 9 is 95, but 96 of its pixels can be seen; correct it" in message
    records[0]["segments_info"][1]["area"] = 9600
    assert scan(row, records) == []


def test_published_files_whose_pictures_have_other_names(tiny_ade) -> None:
    """Then the PNG's name tells; Cityscapes' JSON names no file that exists, and its pattern counts."""
    path = tiny_ade / "ADEChallengeData2016/ade20k_panoptic_val.json"
    content = json.loads(path.read_text())
    content["images"] = [{"id": name, "file_name": f"ADE_{name}.jpg"} for name in "ab"]
    path.write_text(json.dumps(content))
    register_all(str(tiny_ade))
    try:
        records = get_dataset("openvocab_ade20k_panoptic_val", allow_incomplete=True)
    finally:
        register_all()
    assert [Path(record["file_name"]).name for record in records] == ["a.jpg", "b.jpg"]
    assert DATASETS["openvocab_cityscapes_fine_panoptic_val"].image_pattern == "{folder}/{id}_leftImg8bit.png"
