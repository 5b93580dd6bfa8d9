"""COCO JSON of instances and panoptic segments, from the file to the score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from PIL import Image

from maskclippp.config import load_config
from maskclippp.data.datasets import get_dataset, get_metadata
from maskclippp.data.datasets.custom import custom_row
from maskclippp.data.inspection.scan import scan
from maskclippp.data.mappers import build_mapper
from maskclippp.data.run_length import encode_rle
from maskclippp.evaluation.build import build_evaluator
from maskclippp.utils.errors import UserError

from .case import Case, Surroundings
from .mutations import damage_bytes, damage_tree, json_text
from .pictures import good_picture

SIDE = 16
CATEGORIES = [{"id": 1, "name": "dog", "isthing": 1}, {"id": 7, "name": "sky", "isthing": 0}]
NAMES = ("a.jpg", "b.jpg")


def instances_case(around: Surroundings) -> Case:
    """A damaged instance JSON: registered, read, checked, augmented, evaluated."""
    mask = np.zeros((1, SIDE, SIDE), dtype=bool)
    mask[0, 2:9, 3:8] = True
    outlines = [[[2, 2, 10, 2, 10, 12, 2, 12]], encode_rle(mask)[0], {"size": [SIDE, SIDE], "counts": [5, 40, 211]}]
    entries = [
        {
            "id": number,
            "image_id": 1 + number % 2,
            "category_id": 1,
            "iscrowd": int(number == 3),
            "area": 35,
            "bbox": [2, 2, 8, 10],
            "segmentation": outlines[number % 3],
        }
        for number in range(1, 5)
    ]
    return _case(around, "instances", entries, "mask_former_instance")


def panoptic_case(around: Surroundings) -> Case:
    """A damaged panoptic JSON or PNG, likewise."""
    (around.folder / "p").mkdir()
    ids = np.full((SIDE, SIDE), 1, dtype=np.uint8)
    ids[:, SIDE // 2 :] = 2
    segments = [
        {"id": number, "category_id": category, "area": SIDE * SIDE // 2, "bbox": [0, 0, 8, SIDE], "iscrowd": 0}
        for number, category in ((1, 1), (2, 7))
    ]
    entries = []
    for number, name in enumerate(NAMES, start=1):
        file = Path(name).with_suffix(".png").name
        Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(around.folder / "p" / file)
        entries.append({"image_id": number, "file_name": file, "segments_info": segments})
    if around.rng.random() < 0.1:
        broken = around.folder / "p" / "a.png"
        broken.write_bytes(damage_bytes(around.rng, broken.read_bytes()))
    return _case(around, "panoptic", entries, "mask_former_panoptic")


def _case(around: Surroundings, kind: str, entries: list[dict[str, Any]], mapper: str) -> Case:
    rng, folder = around.rng, around.folder
    (folder / "images").mkdir()
    for name in NAMES:
        Image.fromarray(good_picture(rng, (SIDE, SIDE))).save(folder / "images" / name)
    images = [
        {"id": number, "file_name": name, "height": SIDE, "width": SIDE} for number, name in enumerate(NAMES, start=1)
    ]
    text = json_text(damage_tree(rng, {"images": images, "annotations": entries, "categories": CATEGORIES}))
    content = text.encode("utf-8", "surrogatepass")
    (folder / "p.json").write_bytes(damage_bytes(rng, content) if rng.random() < 0.15 else content)
    path = folder / "d.yaml"
    path.write_text(f"images: images\n{kind}: p.json\n")
    return Case(lambda: _use(str(path), kind == "panoptic", mapper), (folder.name, "d.yaml"))


def _use(name: str, panoptic: bool, mapper: str) -> None:
    """Whatever refuses its own part, the parts behind it are asked too: users begin anywhere."""
    refused: list[UserError] = []
    for part in (_check, _augment, _evaluate):
        try:
            part(name, panoptic, mapper)
        except UserError as error:
            refused.append(error)
    if refused:
        raise refused[0]


def _check(name: str, panoptic: bool, mapper: str) -> None:
    get_metadata(name)
    failures = scan(custom_row(name), get_dataset(name))
    if failures:
        raise UserError(failures[0])


def _augment(name: str, panoptic: bool, mapper: str) -> None:
    options = {"INPUT.DATASET_MAPPER_NAME": mapper, "INPUT.MIN_SIZE_TRAIN": "(20,)", "DATASETS.TRAIN": f"({name!r},)"}
    cfg = load_config("", [each for pair in options.items() for each in pair])
    augment = build_mapper(cfg, is_train=True)
    for record in get_dataset(name)[:3]:
        augment(dict(record))


def _evaluate(name: str, panoptic: bool, mapper: str) -> None:
    records = get_dataset(name)
    evaluator = build_evaluator(name, semantic=False, panoptic=panoptic, instance=not panoptic)
    evaluator.reset()
    for record in records[:3]:
        evaluator.process([record], [_prediction(panoptic)])
    evaluator.evaluate()


def _prediction(panoptic: bool) -> dict[str, Any]:
    found = torch.zeros((SIDE, SIDE), dtype=torch.int32)
    found[2:12, 2:10] = 1
    if panoptic:
        return {"panoptic_seg": (found, [{"id": 1, "category_id": 0, "isthing": True}])}
    masks = (found > 0)[None].float()
    instances = Instances((SIDE, SIDE), pred_masks=masks, scores=torch.ones(1), pred_classes=torch.zeros(1).long())
    return {"instances": instances}
