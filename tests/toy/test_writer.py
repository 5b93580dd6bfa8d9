"""The world on disk: formats as their usual readers see them, seen classes in training, complete in the end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskclippp.toy.classes import CAPTION_ONLY_WORDS, CLASSES
from maskclippp.toy.writer import IGNORED, LONG_NAMES, draw_split_scene, make_world
from maskclippp.utils.errors import UserError

COUNTS = {"train": 6, "val": 4, "test": 3}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("data"), counts=COUNTS, workers=1, show_progress=False)


def _read_ids(path):
    red, green, blue = np.moveaxis(np.asarray(Image.open(path)).astype(int), -1, 0)
    return red + 256 * green + 65536 * blue


@pytest.mark.parametrize("split", COUNTS)
def test_pictures_and_labels(world, split):
    images = sorted((world / "images" / LONG_NAMES[split]).iterdir())
    assert len(images) == COUNTS[split]
    for index, path in enumerate(images):
        scene = draw_split_scene(split, 0, index)
        image = np.asarray(Image.open(path))
        labels = np.asarray(Image.open(world / "annotations_detectron2" / LONG_NAMES[split] / f"{path.stem}.png"))
        assert image.shape == scene.image.shape and labels.shape == image.shape[:2] and labels.dtype == np.uint8
        assert np.abs(image.astype(int) - scene.image).mean() < 4
        expected = np.array(scene.class_ids)[scene.segment_map]
        if split == "train":
            expected = np.where(expected < 60, expected, IGNORED)
        assert np.array_equal(labels, expected)


@pytest.mark.parametrize("split", COUNTS)
def test_panoptic_ids_and_label_image_agree(world, split):
    table = json.loads((world / f"panoptic_{split}.json").read_text())
    assert [c["id"] for c in table["categories"]] == list(range(60 if split == "train" else 96))
    for image, annotation in zip(table["images"], table["annotations"], strict=True):
        assert image["id"] == annotation["image_id"]
        ids = _read_ids(world / f"panoptic_{split}" / annotation["file_name"])
        assert ids.shape == (image["height"], image["width"])
        labels = np.asarray(Image.open(world / "annotations_detectron2" / LONG_NAMES[split] / annotation["file_name"]))
        assert set(np.unique(ids)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
        assert np.array_equal(ids == 0, labels == IGNORED)
        for segment in annotation["segments_info"]:
            mask = ids == segment["id"]
            assert mask.sum() == segment["area"] and set(labels[mask]) == {segment["category_id"]}
            x, y, width, height = segment["bbox"]
            assert mask[y : y + height, x : x + width].sum() == segment["area"]


@pytest.mark.parametrize("split", COUNTS)
def test_instances_are_the_things_of_the_panoptic_picture(world, split):
    coco = COCO(str(world / f"instance_{split}.json"))
    panoptic = json.loads((world / f"panoptic_{split}.json").read_text())["annotations"]
    things = {entry.id for entry in CLASSES if entry.is_thing and (entry.is_seen or split != "train")}
    assert set(coco.getCatIds()) == things and min(coco.getAnnIds()) == 1
    for annotation in panoptic:
        ids = _read_ids(world / f"panoptic_{split}" / annotation["file_name"])
        segments = [s for s in annotation["segments_info"] if s["category_id"] in things]
        instances = coco.loadAnns(coco.getAnnIds(imgIds=annotation["image_id"]))
        assert [i["category_id"] for i in instances] == [s["category_id"] for s in segments]
        for instance, segment in zip(instances, segments, strict=True):
            assert np.array_equal(coco_mask.decode(instance["segmentation"]).astype(bool), ids == segment["id"])
            assert instance["area"] == segment["area"] and instance["bbox"] == segment["bbox"]


def test_training_captions_name_seen_classes_only(world):
    texts = [entry["caption"] for entry in json.loads((world / "captions_train.json").read_text())["annotations"]]
    assert len(texts) == 2 * COUNTS["train"]
    assert not [text for text in texts if {*CAPTION_ONLY_WORDS, "brick", "water"} & set(text.strip(".").split())]


def test_same_world_whatever_the_number_of_processes(world, tmp_path):
    other = make_world(tmp_path, counts=COUNTS, workers=2, show_progress=False)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((world / path).read_bytes() == (other / path).read_bytes() for path in files)


def test_finished_world_is_left_alone_half_written_one_completed(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    folder = make_world(tmp_path, counts=counts, workers=1, show_progress=False)
    picture = folder / "images" / "training" / "000002.jpg"
    content, changed = picture.read_bytes(), picture.stat().st_mtime_ns
    make_world(tmp_path, counts=counts, workers=1, show_progress=False)
    assert picture.stat().st_mtime_ns == changed
    (folder / "world.json").write_text('{"version": 1, "se')
    picture.write_bytes(b"half")
    make_world(tmp_path, counts=counts, workers=1, show_progress=False)
    assert picture.read_bytes() == content
    make_world(tmp_path, counts={**counts, "train": 1}, workers=1, show_progress=False)
    assert not picture.exists()
    assert json.loads((folder / "world.json").read_text()) == {
        "version": 1, "seed": 0, "counts": {"train": 1, "val": 1, "test": 1},
    }  # fmt: skip


def test_bad_counts_are_refused(tmp_path):
    with pytest.raises(UserError, match="counts >= 0 of train, val and test"):
        make_world(tmp_path, counts={"train": -1, "val": 1, "test": 1})
    with pytest.raises(UserError, match="counts >= 0 of train, val and test"):
        make_world(tmp_path, counts={"train": 1})
