"""Datasets of which something is missing: refused and counted, or used in part on request."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskclippp.data.datasets import DATASETS, get_dataset, open_dataset, register_all
from maskclippp.data.datasets.completeness import Loaded, agreed, complete
from maskclippp.utils.errors import UserError

from .conftest import write_labels, write_picture

NAME = "toy_sem_seg_val"


@pytest.fixture
def root(tmp_path):
    """The toy world's validation set with three pictures."""
    for name in "abc":
        write_picture(tmp_path / f"toy/images/validation/{name}.jpg")
        write_labels(tmp_path / f"toy/annotations_detectron2/validation/{name}.png", np.zeros((12, 16), np.uint8))
    register_all(str(tmp_path))
    yield tmp_path / "toy"
    register_all()


def names(records: list[dict]) -> list[tuple[str, str]]:
    return [(Path(record["file_name"]).name, Path(record["sem_seg_file_name"]).name) for record in records]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (["annotations_detectron2/validation/b.png"], r"only 2 of 3 .*: 1 of 3 pictures have no label map .*/b\.jpg;"),
        (["images/validation/a.jpg"], r"only 2 of 3 .*: 1 of 3 label maps have no picture .*, first .*/a\.png;"),
        (
            ["images/validation/c.jpg", "annotations_detectron2/validation/a.png"],
            r"only 1 of 3 pictures can be used: 1 of 2 pictures .*/a\.jpg, 1 of 2 label maps .*/c\.png; .* set "
            r"DATASETS\.ALLOW_INCOMPLETE True to go on with the rest$",
        ),
    ],
)
def test_label_maps(root, caplog, gone, message) -> None:
    """Equal numbers of other names are no pairs either."""
    assert names(get_dataset(NAME)) == [("a.jpg", "a.png"), ("b.jpg", "b.png"), ("c.jpg", "c.png")]
    for path in gone:
        (root / path).unlink()
    with pytest.raises(UserError, match=rf"dataset '{NAME}': {message}"):
        get_dataset(NAME)
    with caplog.at_level(logging.WARNING):
        found = open_dataset(NAME, allow_incomplete=True)
    assert len(found.records) == 3 - len(gone) and found.total == 3 and len(found.gaps) == len(gone)
    assert all(picture[0] == labels[0] for picture, labels in names(found.records))
    assert "it is used all the same" in caplog.text


def test_nothing_left(root) -> None:
    for path in root.glob("images/validation/*.jpg"):
        path.unlink()
    with pytest.raises(UserError, match="no label map in .* has the name of a"):
        get_dataset(NAME, allow_incomplete=True)


def test_two_files_of_one_name(root) -> None:
    write_picture(root / "images/validation/a.JPG")
    with pytest.raises(UserError, match=r"images/validation has both a\.JPG and a\.jpg; keep one"):
        get_dataset(NAME)


@pytest.mark.parametrize(("count", "is_complete"), [(20, True), (21, True), (19, False), (13, True), (12, False)])
def test_known_sizes(tmp_path, count, is_complete) -> None:
    """All of 20, or 13 of them as one preparation leaves seven out; whatever other files there are."""
    records = [{"file_name": str(tmp_path / f"{number}.jpg")} for number in range(count)]
    for record in records:
        Path(record["file_name"]).touch()
    row = replace(DATASETS[NAME], num_images=20, num_left_out=7)
    found = complete(row, Loaded(records, 60, ("39 of 60 pictures have no label map",) if count >= 20 else ()))
    assert found.gaps == (() if is_complete else (f"{20 - count} of the 20 published pictures are missing",))
    if not is_complete:
        with pytest.raises(UserError, match=rf"only {count} of 20 pictures can be used"):
            agreed(row, found, allow_incomplete=False)


def test_seven_pictures_of_coco_stuff_have_no_label() -> None:
    rows = {name: DATASETS[f"openvocab_coco_2017_{name}_stuff_sem_seg"] for name in ("train", "val")}
    assert {name: (row.num_images, row.num_left_out) for name, row in rows.items()} == {
        "train": (118287, 7),
        "val": (5000, 0),
    }


def test_pictures_of_an_instance_file(tiny_toy_instances) -> None:
    path = tiny_toy_instances / "toy/instance_val.json"
    content = json.loads(path.read_text())
    content["images"].append({"id": 6, "file_name": "gone.jpg", "height": 12, "width": 16})
    path.write_text(json.dumps(content))
    register_all(str(tiny_toy_instances))
    try:
        with pytest.raises(UserError, match=r"only 1 of 2 .*: 1 of 2 pictures are missing, first .*gone\.jpg"):
            get_dataset("toy_instance_val")
        assert [record["image_id"] for record in get_dataset("toy_instance_val", allow_incomplete=True)] == [5]
    finally:
        register_all()
