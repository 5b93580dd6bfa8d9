"""A tiny dataset in the real formats: a label map, panoptic and instance annotations of two pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

SPLITS = {"val": "validation"}


def write_picture(path: Path, size_hw: tuple[int, int] = (12, 16), seed: int = 0) -> None:
    """Save a random RGB picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.RandomState(seed).randint(0, 255, (*size_hw, 3), np.uint8)).save(path)


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Save a label map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


@pytest.fixture
def tiny_ade(tmp_path) -> Path:
    """A datasets root with two validation pictures of ADE20K: a wall (0, stuff) with a bed (7, thing) in it."""
    root = tmp_path / "ADEChallengeData2016"
    labels = np.zeros((12, 16), np.uint8)
    labels[2:6, 3:9] = 7
    labels[0, 0] = 255
    annotations = []
    for number, name in enumerate(["a", "b"]):
        write_picture(root / f"images/validation/{name}.jpg", seed=number)
        write_labels(root / f"annotations_detectron2/validation/{name}.png", labels)
        ids = np.where(labels == 7, 300, np.where(labels == 0, 20, 0))
        write_labels(
            root / f"ade20k_panoptic_val/{name}.png",
            np.stack([ids % 256, ids // 256, ids * 0], -1).astype(np.uint8),
        )
        segments = [{"id": 20, "category_id": 0, "iscrowd": 0}, {"id": 300, "category_id": 7, "iscrowd": 0}]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": segments})
    (root / "ade20k_panoptic_val.json").write_text(json.dumps({"annotations": annotations}))
    return tmp_path


@pytest.fixture
def tiny_toy_instances(tmp_path) -> Path:
    """A datasets root with one validation picture of the toy world's instance set: one object of category 1."""
    write_picture(tmp_path / "toy/images/validation/0.jpg")
    rle = coco_mask.encode(np.asfortranarray(np.eye(12, 16, dtype=np.uint8)))
    annotation = {
        "id": 1,
        "image_id": 5,
        "category_id": 1,
        "bbox": [0, 0, 12, 12],
        "area": 12,
        "iscrowd": 0,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }
    content = {
        "images": [{"id": 5, "file_name": "0.jpg", "height": 12, "width": 16}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (tmp_path / "toy/instance_val.json").write_text(json.dumps(content))
    return tmp_path
