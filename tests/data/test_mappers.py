"""Samples made of files: golden values, targets, randomness, and wrong files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import transforms as T
from PIL import Image
from safetensors.numpy import load_file

from maskclippp.data.datasets import get_dataset, register_all
from maskclippp.data.mappers import InferenceMapper, SemanticMapper, build_mapper
from maskclippp.data.mappers.color_jitter import SSDColorJitter
from maskclippp.data.mappers.common import read_record_image
from maskclippp.utils.errors import UserError

from .conftest import write_labels, write_picture


@pytest.fixture
def record(tmp_path) -> dict:
    """A picture of 12x16 whose left half is class 2, with a rim of class 1 and one ignored row."""
    labels = np.full((12, 16), 255, np.uint8)
    labels[1:, :8] = 2
    labels[-1] = 1
    write_picture(tmp_path / "a.png")
    write_labels(tmp_path / "labels.png", labels)
    return {"file_name": str(tmp_path / "a.png"), "sem_seg_file_name": str(tmp_path / "labels.png")}


@pytest.mark.parametrize("case", ["mapper_semantic", "mapper_semantic_pad"])
def test_golden(shared_dir, tmp_path, case: str) -> None:
    tensors = load_file(shared_dir / "golden" / f"{case}.safetensors")
    cfg = json.loads((shared_dir / "golden" / f"{case}.json").read_text())["cfg"]
    Image.fromarray(tensors["in.image"].transpose(1, 2, 0)).save(tmp_path / "a.png")
    Image.fromarray(tensors["in.sem_seg"]).save(tmp_path / "b.png")
    augmentations = [T.ResizeShortestEdge(cfg["short_edge"])] if cfg["short_edge"] else []
    augmentations += [T.RandomFlip(prob=1.0)] if cfg["flip"] else []
    mapper = SemanticMapper(
        augmentations=augmentations, size_divisibility=cfg["SIZE_DIVISIBILITY"], ignore_label=cfg["ignore_label"]
    )
    sample = mapper({"file_name": str(tmp_path / "a.png"), "sem_seg_file_name": str(tmp_path / "b.png")})
    found = {"image": sample["image"], "sem_seg": sample["sem_seg"], **sample["instances"].get_fields()}
    assert sample["image"].dtype == torch.uint8 and found["gt_masks"].dtype == torch.bool
    for name, value in found.items():
        expected = tensors[f"out.{name}"]
        assert value.shape == expected.shape and (value.numpy() == expected).all(), name
    assert (sample["height"], sample["width"]) == tensors["in.sem_seg"].shape


def test_targets(record) -> None:
    before = dict(record)
    sample = SemanticMapper(augmentations=[], num_classes=3)(record)
    assert record == before and "sem_seg_file_name" not in sample
    assert sample["instances"].gt_classes.tolist() == [1, 2]
    assert sample["instances"].gt_masks.sum((1, 2)).tolist() == [16, 80]
    assert sample["instances"].image_size == (12, 16)


def test_all_ignored(record) -> None:
    write_labels(Path(record["sem_seg_file_name"]), np.full((12, 16), 255, np.uint8))
    instances = SemanticMapper(augmentations=[], num_classes=3)(record)["instances"]
    assert len(instances) == 0 and instances.gt_masks.shape == (0, 12, 16) and instances.gt_masks.dtype == torch.bool


def test_padding_cuts_what_is_larger(record) -> None:
    sample = SemanticMapper(augmentations=[], size_divisibility=14)(record)
    assert sample["image"].shape == (3, 14, 14) and sample["sem_seg"].shape == (14, 14)
    assert (sample["image"][:, 12:] == 128).all() and (sample["sem_seg"][12:] == 255).all()


@pytest.mark.parametrize("make", [lambda cfg: SemanticMapper(cfg, True), lambda cfg: build_mapper(cfg, True)])
def test_from_config(tiny_ade, make) -> None:
    register_all(str(tiny_ade))
    mapper = make(_cfg())
    assert mapper.num_classes == 150 and mapper.ignore_label == 255
    kinds = [type(augmentation).__name__ for augmentation in mapper.augmentations.augs]
    assert kinds == ["ResizeShortestEdge", "RandomCrop_CategoryAreaConstraint", "SSDColorJitter", "RandomFlip"]
    (record, _) = get_dataset("openvocab_ade20k_sem_seg_val", allow_incomplete=True)
    np.random.seed(3)
    first = mapper(record)
    np.random.seed(3)
    second = mapper(record)
    assert first["image"].shape == (3, 10, 10) and torch.equal(first["image"], second["image"])
    assert torch.equal(first["instances"].gt_masks, second["instances"].gt_masks)
    register_all()


def _cfg():
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("openvocab_ade20k_sem_seg_val",)
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_semantic"
    cfg.INPUT.COLOR_AUG_SSD = True
    cfg.INPUT.SIZE_DIVISIBILITY = -1
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (11, 13)
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "choice"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 6, 7
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = (10, 10)
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = 255
    return cfg


def test_unknown_mapper_and_empty_train_set() -> None:
    cfg = _cfg()
    cfg.INPUT.DATASET_MAPPER_NAME = "maskformer_semantic"
    with pytest.raises(UserError, match="'maskformer_semantic'; did you mean mask_former_semantic"):
        build_mapper(cfg, True)
    cfg = _cfg()
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(UserError, match=r"DATASETS\.TRAIN is empty"):
        build_mapper(cfg, True)
    cfg.DATASETS.TRAIN = ("toy_instance_train",)
    with pytest.raises(UserError, match="dataset 'toy_instance_train' has no label maps"):
        build_mapper(cfg, True)


def test_wrong_files(record, tmp_path) -> None:
    mapper = SemanticMapper(augmentations=[], num_classes=2)
    with pytest.raises(UserError, match=r"labels\.png: label 2 in 80 pixels; expected 0 to 1 or 255"):
        mapper(record)
    write_labels(tmp_path / "labels.png", np.zeros((12, 15), np.uint8))
    with pytest.raises(UserError, match=r"labels\.png: 12x15 .* its image is 12x16"):
        mapper(record)
    with pytest.raises(UserError, match=r"a\.png: 12x16 .* says 16x12"):
        mapper({**record, "height": 16, "width": 12})
    with pytest.raises(UserError, match="has instance annotations"):
        mapper({**record, "annotations": []})
    with pytest.raises(UserError, match="has no sem_seg_file_name"):
        mapper({"file_name": record["file_name"]})


def test_inference_mapper(record) -> None:
    mapper = build_mapper(_cfg(), False)
    assert isinstance(mapper, InferenceMapper)
    record["segments_info"] = [{"id": 1}]
    sample = mapper(record)
    assert sample["image"].shape == (3, 5, 7) and (sample["height"], sample["width"]) == (12, 16)
    assert {name: sample[name] for name in record} == record and "image" not in record


def test_jitter_without_changes_is_the_identity(monkeypatch) -> None:
    monkeypatch.setattr("maskclippp.data.mappers.color_jitter._coin", lambda: False)
    image = np.random.RandomState(0).randint(0, 255, (5, 6, 3), np.uint8)
    assert (SSDColorJitter().get_transform(image).apply_image(image) == image).all()


def test_jitter_does_the_four_changes_in_order(monkeypatch) -> None:
    monkeypatch.setattr("maskclippp.data.mappers.color_jitter._coin", lambda: True)
    draws = iter([20.0, 1.25, 0.75])
    monkeypatch.setattr(np.random, "uniform", lambda low, high: next(draws))
    monkeypatch.setattr(np.random, "randint", lambda low, high: -7)
    image = np.random.RandomState(0).randint(0, 255, (5, 6, 3), np.uint8)
    bright = np.clip(image + np.float32(20), 0, 255).astype(np.uint8)
    contrast = np.clip(bright * np.float32(1.25), 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(contrast, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] - 7) % 180
    hsv[..., 1] = hsv[..., 1] * 0.75
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    assert (SSDColorJitter().get_transform(image).apply_image(image) == expected).all()


def test_jitter_does_not_depend_on_the_channel_order() -> None:
    image = np.random.RandomState(0).randint(0, 255, (5, 6, 3), np.uint8)
    for seed in range(20):
        np.random.seed(seed)
        rgb = SSDColorJitter("RGB").get_transform(image).apply_image(image)
        np.random.seed(seed)
        bgr = SSDColorJitter("BGR").get_transform(image).apply_image(image[..., ::-1])
        assert (rgb == bgr[..., ::-1]).all()


@pytest.mark.parametrize(
    ("size_hw", "reason"),
    [((20, 12), "annotated without the rotation in its EXIF data"), ((12, 21), "another picture")],
)
def test_a_picture_of_another_size_says_why(tmp_path, size_hw, reason) -> None:
    Image.new("RGB", (20, 12)).save(tmp_path / "a.png")
    record = {"file_name": str(tmp_path / "a.png"), "height": size_hw[0], "width": size_hw[1]}
    with pytest.raises(UserError, match=reason):
        read_record_image(record, "RGB")
