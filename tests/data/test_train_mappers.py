"""Panoptic and instance training samples: which masks come out, geometry, and wrong records."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from PIL import Image
from pycocotools import mask as coco_mask

from maskclippp.config import load_config
from maskclippp.data.mappers import (
    InstanceJitterMapper,
    InstanceMapper,
    PanopticJitterMapper,
    PanopticMapper,
    build_mapper,
)
from maskclippp.data.mappers.augmentations import large_scale_jitter, resize_and_crop
from maskclippp.utils.errors import UserError

from .conftest import write_picture

SIZE = (12, 16)
SQUARE = [2, 3, 10, 3, 10, 9, 2, 9]


@pytest.fixture
def panoptic(tmp_path) -> dict:
    """A picture with segment 300 (class 7) in the left half, 20 (class 1) in the right, a crowd in the first row."""
    ids = np.full(SIZE, 20)
    ids[:, :8] = 300
    ids[0] = 5
    write_picture(tmp_path / "a.png", SIZE)
    Image.fromarray(np.stack([ids % 256, ids // 256, ids * 0], -1).astype(np.uint8)).save(tmp_path / "pan.png")
    segments = [
        {"id": 300, "category_id": 7, "iscrowd": 0},
        {"id": 5, "category_id": 2, "iscrowd": 1},
        {"id": 20, "category_id": 1},
        {"id": 999, "category_id": 3, "iscrowd": 0},
    ]
    return {
        "file_name": str(tmp_path / "a.png"),
        "pan_seg_file_name": str(tmp_path / "pan.png"),
        "segments_info": segments,
    }


@pytest.fixture
def instances(tmp_path) -> dict:
    """The same square as polygon, run-length encoding and array, and a crowd."""
    write_picture(tmp_path / "a.png", SIZE)
    rle = coco_mask.merge(coco_mask.frPyObjects([SQUARE], *SIZE))
    shapes = [[SQUARE], {"size": list(SIZE), "counts": rle["counts"].decode()}, coco_mask.decode(rle)]
    annotations = [{"category_id": index, "iscrowd": 0, "segmentation": shape} for index, shape in enumerate(shapes)]
    annotations.append({"category_id": 9, "iscrowd": 1, "segmentation": [SQUARE]})
    return {"file_name": str(tmp_path / "a.png"), "annotations": annotations}


def _config(name: str, **keys):
    cfg = load_config("configs/toy/maskclippp_toy_clip-vit.yaml", ["INPUT.DATASET_MAPPER_NAME", name])
    for key, value in keys.items():
        cfg.INPUT[key] = value
    return cfg


def test_panoptic_targets(panoptic) -> None:
    before = dict(panoptic)
    sample = PanopticMapper(augmentations=[T.CropTransform(8, 0, 8, 12)])(panoptic)
    assert panoptic == before
    assert sorted(sample) == ["file_name", "height", "image", "instances", "width"]
    found = sample["instances"]
    assert found.gt_classes.tolist() == [7, 1, 3] and found.gt_classes.dtype == torch.int64
    assert found.gt_masks.sum((1, 2)).tolist() == [0, 88, 0] and found.gt_masks.dtype == torch.bool
    assert not found.has("gt_boxes")


def test_panoptic_boxes_and_padding(panoptic) -> None:
    scale = T.ResizeScale(0.5, 0.5, 32, 32)
    found = PanopticJitterMapper(augmentations=[scale, T.FixedSizeCrop((32, 32))])(panoptic)["instances"]
    assert found.gt_masks.sum((1, 2)).tolist() == [88, 88, 0]
    assert found.gt_boxes.tensor.tolist() == [[0, 1, 8, 12], [8, 1, 16, 12], [0, 0, 0, 0]]
    sample = PanopticMapper(augmentations=[], size_divisibility=20)(panoptic)
    assert sample["image"].shape == (3, 20, 20) and sample["instances"].image_size == (20, 20)
    assert sample["instances"].gt_masks.sum((1, 2)).tolist() == [88, 88, 0]


def test_no_segments(panoptic) -> None:
    panoptic["segments_info"] = panoptic["segments_info"][1:2]
    found = PanopticJitterMapper(augmentations=[])(panoptic)["instances"]
    assert found.gt_masks.shape == (0, *SIZE) and found.gt_masks.dtype == torch.bool
    assert found.gt_classes.shape == (0,) and found.gt_boxes.tensor.shape == (0, 4)


def test_limit_of_a_category_reads_the_segments(panoptic) -> None:
    """Only crops that show both halves are taken, as the sizes of the segments are known."""
    cfg = _config("mask_former_panoptic", MIN_SIZE_TRAIN=(12,), SIZE_DIVISIBILITY=-1)
    cfg.INPUT.CROP.SIZE, cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = (12, 8), 0.7
    mapper = build_mapper(cfg, True)
    for seed in range(20):
        np.random.seed(seed)
        areas = mapper(panoptic)["instances"].gt_masks.sum((1, 2))[:2]
        assert areas.max() < 0.7 * 96


def test_shapes_of_instances_agree(instances) -> None:
    masks = InstanceMapper(augmentations=[])(instances)["instances"]
    assert masks.gt_classes.tolist() == [0, 1, 2] and (masks.gt_masks == masks.gt_masks[0]).all()
    assert masks.gt_masks[0].sum() == 48 and masks.gt_masks[0, 3:9, 2:10].all() and not masks.has("gt_boxes")


@pytest.mark.parametrize("x0", [0, 5])
def test_instances_under_crop_and_padding(instances, x0) -> None:
    """Each shape, moved its own way, lands on the same pixels; padding belongs to none."""
    moved = [T.HFlipTransform(16), T.CropTransform(x0, 1, 16 - x0, 11), T.PadTransform(0, 0, 4, 3, seg_pad_value=255)]
    found = InstanceJitterMapper(augmentations=moved)(instances)["instances"]
    assert found.image_size == (14, 20 - x0)
    expected = torch.zeros(14, 20 - x0, dtype=torch.bool)
    expected[2:8, 6 - x0 : 14 - x0] = True
    assert (found.gt_masks == expected).all() and len(found) == 3
    assert found.gt_boxes.tensor[0].tolist() == [6 - x0, 2, 14 - x0, 8]


def test_instances_that_vanish(instances) -> None:
    crop = [T.CropTransform(11, 0, 5, 12)]
    assert InstanceMapper(augmentations=crop)(instances)["instances"].gt_masks.shape == (3, 12, 5)
    left = InstanceJitterMapper(augmentations=crop)(instances)["instances"]
    assert left.gt_masks.shape == (0, 12, 5) and len(left.gt_classes) == len(left.gt_boxes) == 0


@pytest.mark.parametrize(
    "name", ["mask_former_panoptic", "coco_panoptic_lsj", "mask_former_instance", "coco_instance_lsj"]
)
def test_from_config(name, panoptic, instances) -> None:
    mapper = build_mapper(_config(name, IMAGE_SIZE=24, COLOR_AUG_SSD=True), True)
    record = panoptic if "panoptic" in name else instances
    side = 24 if name.endswith("lsj") else 128
    for seed in range(5):
        np.random.seed(seed)
        sample = mapper(record)
        assert sample["image"].shape == (3, side, side) and sample["image"].dtype == torch.uint8
        assert sample["instances"].image_size == (side, side)
        assert sample["instances"].has("gt_boxes") == name.endswith("lsj")


def test_published_order() -> None:
    def names(augmentations) -> list[str]:
        return [type(each).__name__ for each in augmentations]

    cfg = _config("coco_panoptic_lsj", COLOR_AUG_SSD=True)
    assert names(large_scale_jitter(cfg)) == ["RandomFlip", "SSDColorJitter", "ResizeScale", "FixedSizeCrop"]
    cfg.INPUT.RANDOM_FLIP = "none"
    assert names(large_scale_jitter(cfg))[0] == "SSDColorJitter"
    plain = names(resize_and_crop(cfg, limit_category=False))
    assert plain == ["ResizeShortestEdge", "RandomCrop", "SSDColorJitter", "RandomFlip"]


def test_wrong_records(panoptic, instances) -> None:
    mapper = build_mapper(_config("coco_panoptic_lsj"), True)
    with pytest.raises(UserError, match=r"'coco_panoptic_lsj' needs panoptic segments.*has no pan_seg_file_name"):
        mapper(instances)
    with pytest.raises(UserError, match=r"pan\.png: the record has no 'segments_info'"):
        mapper({key: value for key, value in panoptic.items() if key != "segments_info"})
    with pytest.raises(UserError, match="'InstanceMapper' needs instance annotations.*has no annotations"):
        InstanceMapper(augmentations=[])(panoptic)
    wrong = {
        "it has no mask": None,
        "a polygon has fewer than three points": [[1, 2, 3, 4]],
        "'segmentation' is 'text'": "text",
        "polygon 0: 1e.99 is no coordinate": [[1, 2, 3, 4, 1e99, 4]],
        "polygon 0: nan is no coordinate": [[1, 2, 3, 4, float("nan"), 4]],
    }
    for message, segmentation in wrong.items():
        instances["annotations"][1]["segmentation"] = segmentation
        with pytest.raises(UserError, match=rf"a\.png, annotation 1.*{message}"):
            InstanceMapper(augmentations=[])(instances)
    instances["annotations"][1]["segmentation"] = np.zeros((3, 3), np.uint8)
    with pytest.raises(UserError, match="annotation 1: 3x3 .* its image is 12x16"):
        InstanceMapper(augmentations=[])(instances)
    with pytest.raises(UserError, match="'coco_panoptic_lsj' is for training only"):
        PanopticJitterMapper(_config("coco_panoptic_lsj"), False)
