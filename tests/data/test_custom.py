"""Datasets of one's own: files that describe them, what they become, what is said about wrong ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from maskclippp.config.defaults import default_config
from maskclippp.data.datasets import DATASETS, default_ignore_label, get_dataset, get_metadata, ignore_label_of
from maskclippp.data.datasets.mess import is_mess
from maskclippp.data.datasets.register import _metadata
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.data.mappers.semantic import SemanticMapper
from maskclippp.utils.errors import UserError

from .conftest import write_labels, write_picture

CATEGORIES = [
    {"id": 7, "name": "dog", "isthing": 1},
    {"id": 3, "name": "sky", "isthing": 0},
    {"id": 9, "name": "cat", "isthing": 1},
]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures with label maps, a panoptic and an instance file."""
    labels = np.zeros((12, 16), np.uint8)
    labels[3:9, 2:8] = 1
    ids = np.zeros((12, 16, 3), np.uint8)
    ids[..., 0] = labels + 1
    segments = [{"id": 1, "category_id": 3, "iscrowd": 0}, {"id": 2, "category_id": 7, "iscrowd": 0}]
    square = [{"segmentation": [[2, 3, 8, 3, 8, 9, 2, 9]], "bbox": [2, 3, 6, 6], "area": 36, "iscrowd": 0}]
    annotations, images, objects = [], [], []
    for number, name in enumerate(["a", "b"]):
        write_picture(tmp_path / f"pictures/{name}.jpg", seed=number)
        write_labels(tmp_path / f"labels/{name}.png", labels)
        write_labels(tmp_path / f"panoptic/{name}.png", ids)
        annotations.append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
        images.append({"id": number, "file_name": f"{name}.jpg", "height": 12, "width": 16})
        objects += [entry | {"id": number + 1, "image_id": number, "category_id": 9} for entry in square]
    panoptic = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (tmp_path / "panoptic.json").write_text(json.dumps(panoptic))
    content = {"images": images, "annotations": objects, "categories": CATEGORIES}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    yield tmp_path
    for name in [name for name in DatasetCatalog.list() if name.startswith(str(tmp_path))]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def describe(folder: Path, name: str = "mine.yaml", **content: Any) -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False) if name.endswith("yaml") else json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    "classes",
    [["sky, heaven", "dog"], {1: "dog", 0: "sky,heaven"}, "classes.txt", "classes.tsv"],
)
def test_label_maps(folder, classes) -> None:
    (folder / "classes.txt").write_text("sky, heaven\ndog\n")
    (folder / "classes.tsv").write_text("4\tstuff\tsky, heaven\n5\tthing\tdog\n")
    name = describe(folder, images="pictures", labels="labels", classes=classes)
    metadata = get_metadata(name)
    assert metadata.stuff_classes == ["sky,heaven", "dog"]
    assert (metadata.evaluator_type, metadata.ignore_label, metadata.name) == ("sem_seg", 255, name)
    records = get_dataset(name)
    assert [record["sem_seg_file_name"] for record in records] == [f"{folder}/labels/{n}.png" for n in "ab"]
    assert get_metadata(name) is metadata


def test_json_suffixes_and_a_shipped_vocabulary(folder) -> None:
    write_picture(folder / "pictures/a_depth.png")
    options = {"classes": "pascal_voc_20", "ignore_label": 0, "image_ext": "jpg", "label_ext": "png"}
    name = describe(folder, "mine.json", images="pictures", labels="labels", **options)
    assert len(get_dataset(name)) == 2
    assert len(get_metadata(name).stuff_classes) == 20 and get_metadata(name).ignore_label == 0


@pytest.mark.parametrize(("count", "expected"), [(2, 255), (255, 255), (256, 65535), (300, 65535), (70000, 70000)])
def test_the_ignored_value_is_no_class(folder, caplog, count: int, expected: int) -> None:
    (folder / "classes.txt").write_text("\n".join(f"class {number}" for number in range(count)))
    name = describe(folder, images="pictures", labels="labels", classes="classes.txt")
    for _ in range(2):
        assert get_metadata(name).ignore_label == expected == default_ignore_label(count)
        DatasetCatalog.remove(name)
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told == ([] if expected == 255 else [
        f"{name}: of {count} classes one has the value 255, so pixels of value {expected} are unlabelled; "
        "state ignore_label if it is another"
    ])  # fmt: skip


def test_class_255_of_300_is_trained(folder) -> None:
    labels = np.full((12, 16), 254, np.uint16)
    labels[:, 4:8], labels[:, 8:] = 255, 65535
    for name in "ab":
        write_labels(folder / f"labels/{name}.png", labels)
    (folder / "classes.txt").write_text("\n".join(f"class {number}" for number in range(300)))
    cfg = default_config()
    cfg.DATASETS.TRAIN = (describe(folder, images="pictures", labels="labels", classes="classes.txt"),)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CROP.ENABLED = (12,), False
    instances = SemanticMapper(cfg, True)(get_dataset(cfg.DATASETS.TRAIN[0])[0])["instances"]
    assert instances.gt_classes.tolist() == [254, 255] and instances.gt_masks.sum((1, 2)).tolist() == [48, 48]


def test_a_stated_value_that_is_a_class_names_the_class(folder, caplog) -> None:
    name = describe(folder, images="pictures", labels="labels", classes=["sky, air", "dog"], ignore_label=1)
    assert get_metadata(name).ignore_label == ignore_label_of(get_metadata(name)) == 1
    assert caplog.messages == [
        f"{name}:6: ignore_label 1 is class 1, 'dog': that class is never trained nor scored",
    ]
    other = MetadataCatalog.get(f"{folder}/elsewhere").set(stuff_classes=["a", "b"], ignore_label=0)
    assert [ignore_label_of(other), ignore_label_of(other)] == [0, 0]
    assert caplog.messages[1:] == [
        f"dataset '{folder}/elsewhere': ignore_label 0 is class 0, 'a': that class is never trained nor scored"
    ]
    many = MetadataCatalog.get(f"{folder}/many").set(stuff_classes=[str(number) for number in range(256)])
    assert ignore_label_of(many) == 65535


def test_no_registered_dataset_ignores_a_class() -> None:
    for row in DATASETS.values():
        if not is_mess(row) and row.kind in ("sem_seg", "panoptic"):
            assert row.ignore_label >= len(row_vocabulary(row)), row.name
    row = replace(DATASETS["openvocab_ade20k_full_sem_seg_val"], ignore_label=255)
    with pytest.raises(UserError, match=r"dataset 'openvocab_ade20k_full_sem_seg_val': ignore_label 255 is class 255"):
        _metadata(row, "")


def test_panoptic(folder) -> None:
    options = {"labels": "labels", "instances": "instances.json"}
    name = describe(folder, images="pictures", panoptic="panoptic.json", **options)
    metadata = get_metadata(name)
    assert metadata.stuff_classes == ["sky", "dog", "cat"] and metadata.thing_classes == ["dog", "cat"]
    assert metadata.thing_dataset_id_to_contiguous_id == {7: 1, 9: 2}
    assert (metadata.evaluator_type, metadata.json_file) == ("coco_panoptic_seg", f"{folder}/instances.json")
    record = get_dataset(name)[1]
    assert record["file_name"] == f"{folder}/pictures/b.jpg" and record["sem_seg_file_name"] == f"{folder}/labels/b.png"
    assert [(s["category_id"], s["isthing"]) for s in record["segments_info"]] == [(0, False), (1, True)]
    bare = describe(folder, "bare.yaml", images="pictures", panoptic="panoptic.json", classes=["a", "b, c", "d"])
    assert "sem_seg_file_name" not in get_dataset(bare)[0]
    assert get_metadata(bare).stuff_classes == ["a", "b,c", "d"]


def test_instances(folder) -> None:
    classes = {9: "cat, kitten", 3: "sky", 7: "dog"}
    name = describe(folder, images="pictures", instances="instances.json", classes=classes)
    metadata = get_metadata(name)
    assert metadata.thing_classes == ["sky", "dog", "cat,kitten"] and metadata.evaluator_type == "coco"
    [annotation] = get_dataset(name)[0]["annotations"]
    assert annotation["category_id"] == 2


LABELS = {"images": "pictures", "labels": "labels"}
PANOPTIC = {"images": "pictures", "panoptic": "panoptic.json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"imges": "pictures"}, r"mine\.yaml:1: unknown key 'imges'; did you mean images, "),
        ({"labels": "labels", "classes": ["a"]}, "images is missing; name the folder"),
        ({"images": "pictures"}, "there are neither annotations nor classes; name one of labels, instances and pan"),
        (LABELS | {"instances": "instances.json"}, "labels and instances are two datasets; name one"),
        (LABELS | {"segments": "panoptic"}, r"mine\.yaml:3: segments is the folder of a panoptic file"),
        (LABELS, "classes is missing; list them, or name a vocabulary or a file"),
        ({"images": ["a"], "labels": "labels"}, r"mine\.yaml:1: images must be a text, not \['a'\]"),
        ({"images": {"a": 1}, "labels": "labels"}, r"mine\.yaml:2: images takes one value, not a section"),
        (LABELS | {"classes": ["a", "a"]}, "'a' is a name of class 1 and of class 2"),
        (LABELS | {"classes": ["a", False]}, r"class 2 has no name \(False\)"),
        (LABELS | {"classes": 3}, r"mine\.yaml:3: classes must be a list, 'ID: name' lines or a text, not 3"),
        (LABELS | {"classes": "pascal_voc"}, r"mine\.yaml:3: no vocabulary is called 'pascal_voc'; did you mean"),
        (LABELS | {"classes": "my.txt"}, r"mine\.yaml:3: there is no file .*/my\.txt"),
        (LABELS | {"classes": {1: "a", 2: "b"}}, "label maps count classes from 0 on, but 0 has no name"),
        (LABELS | {"classes": {"one": "a"}}, r"mine\.yaml:4: classes: 'one' is no id; write 'ID: name, synonym'"),
        (LABELS | {"classes": ["a"], "ignore_label": -1}, r"mine\.yaml:5: ignore_label must be a whole number"),
        (PANOPTIC | {"classes": ["a", "b"]}, r"mine\.yaml:3: 2 classes, but .*/panoptic\.json has 3 categories"),
        (PANOPTIC | {"classes": {3: "a", 7: "b"}}, "classes: only the file has a category 9; give a name to each"),
        (PANOPTIC | {"classes": {3: "a", 7: "b", 8: "c", 9: "d"}}, "classes: only classes has a category 8"),
        ({"images": "pictures", "instances": "absent.json"}, r"absent\.json: no such file"),
    ],
)
def test_wrong_files(folder, content, message) -> None:
    with pytest.raises(UserError, match=message) as error:
        get_metadata(describe(folder, **content))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_categories_of_the_annotation_file(folder, kind) -> None:
    """Ids are whole numbers, however they are written; each of them is listed once."""
    path = folder / f"{kind}.json"
    content = json.loads(path.read_text())
    content["categories"][0]["id"] = "7"
    path.write_text(json.dumps(content))
    metadata = get_metadata(describe(folder, images="pictures", **{kind: f"{kind}.json"}))
    assert list(metadata.thing_dataset_id_to_contiguous_id) == ([3, 7, 9] if kind == "instances" else [7, 9])
    content["categories"][1]["id"] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{kind}\.json, categories\[1\]: id 7 is also that of categories\[0\]"):
        get_metadata(describe(folder, "twice.yaml", images="pictures", **{kind: f"{kind}.json"}))


def test_what_is_missing_is_told_when_records_are_wanted(folder) -> None:
    name = describe(folder, images="absent", labels="labels", classes=["a", "b"])
    assert len(get_metadata(name).stuff_classes) == 2
    with pytest.raises(UserError, match=rf"no folder of images {folder}/absent; check {name}$"):
        get_dataset(name)
    with pytest.raises(UserError, match="there is no dataset file nowhere.yaml"):
        get_dataset("nowhere.yaml")


def test_label_maps_of_other_names_are_not_paired_by_position(folder) -> None:
    (folder / "labels/b.png").rename(folder / "labels/c.png")
    name = describe(folder, **LABELS, classes=["a", "b"])
    with pytest.raises(UserError, match=r"only 1 of 3 .*: 1 of 2 pictures .*/b\.jpg, 1 of 2 .*c\.png"):
        get_dataset(name)


def test_code_and_mixed_pictures_are_refused(folder) -> None:
    path = folder / "mine.yaml"
    path.write_text("images: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match=r"mine\.yaml:1: the YAML tag '!!python/object/apply:os\.getcwd' is refused"):
        get_metadata(str(path))
    write_picture(folder / "pictures/c.png")
    with pytest.raises(UserError, match=r"pictures holds \.jpg, \.png files; say in image_ext which ones count"):
        get_metadata(describe(folder, **LABELS, classes=["a"]))


def test_jpg_with_capital_letters(tmp_path) -> None:
    """Endings of one folder that differ by capital letters are one sort; files of other systems are none."""
    labels = np.zeros((12, 16), np.uint8)
    for name in ("a.jpg", "b.JPG", "c.Jpg"):
        write_picture(tmp_path / "images" / name)
        write_labels(tmp_path / "labels" / f"{Path(name).stem}.png", labels)
    for path in ("images/._a.jpg", "images/.DS_Store", "images/._x.webp", "labels/._a.PNG"):
        (tmp_path / path).write_bytes(b"\0")
    file = tmp_path / "set.yaml"
    file.write_text("images: images\nlabels: labels\nclasses: [sky, road]\n")
    records = get_dataset(str(file))
    assert [Path(record["file_name"]).name for record in records] == ["a.jpg", "b.JPG", "c.Jpg"]
    (tmp_path / "labels/b.png").unlink()
    file = file.rename(tmp_path / "other.yaml")  # records are kept by name
    found = [Path(record["sem_seg_file_name"]).name for record in get_dataset(str(file), allow_incomplete=True)]
    assert found == ["a.png", "c.png"]


def test_pictures_and_class_names(folder) -> None:
    """Are a dataset to predict on: all pictures, in sub-folders too; a vocabulary tells the things."""
    write_picture(folder / "pictures/more/c.PNG")
    (folder / "classes.tsv").write_text("4\tstuff\tsky\n5\tthing\tdog\n")
    name = describe(folder, images="pictures", classes="classes.tsv")
    records = get_dataset(name)
    assert [record["names"][0] for record in records] == ["a.jpg", "b.jpg", "more/c.PNG"]
    assert set(records[0]) == {"file_name", "names"}
    metadata = get_metadata(name)
    assert (metadata.evaluator_type, metadata.stuff_classes) == ("images", ["sky", "dog"])
    assert metadata.thing_dataset_id_to_contiguous_id == {5: 1} and metadata.get("sem_seg_root", None) is None
    one_sort = describe(folder, "sort.yaml", images="pictures", classes=["a"], image_ext="png")
    assert len(get_dataset(one_sort)) == 1
    with pytest.raises(UserError, match="no picture in .*/labels/none; check"):
        (folder / "labels/none").mkdir()
        get_dataset(describe(folder, "none.yaml", images="labels/none", classes=["a"]))


def test_label_maps_in_folders(folder) -> None:
    """Of equal stems; also if the label maps lie among the pictures."""
    for name in ("seq1/1", "seq2/1"):
        write_picture(folder / f"deep/{name}.jpg")
        write_labels(folder / f"deep/labels/{name}.png", np.zeros((12, 16), np.uint8))
    records = get_dataset(describe(folder, images="deep", labels="deep/labels", classes=["a"]))
    assert [record["sem_seg_file_name"] for record in records] == [f"{folder}/deep/labels/seq{n}/1.png" for n in (1, 2)]


def test_files_of_coco_take_pictures_of_all_sorts(folder) -> None:
    """Whatever else is in the folder; a picture outside of it is refused."""
    write_picture(folder / "pictures/c.png")
    assert len(get_dataset(describe(folder, images="pictures", instances="instances.json"))) == 2
    content = json.loads((folder / "instances.json").read_text())
    content["images"][0]["file_name"] = "../labels/a.png"
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"instances\.json: the picture .*\.\./labels/a\.png is outside of the folder"):
        get_dataset(describe(folder, "out.yaml", images="pictures", instances="instances.json"))
