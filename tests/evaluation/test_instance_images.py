"""Which image of an instance file a record shows; AP of the images that were shown."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from detectron2.structures import Instances
from pycocotools import mask as coco_mask

from maskclippp.data.names import set_names
from maskclippp.evaluation.instance import InstanceEvaluator
from maskclippp.evaluation.instance_images import InstanceImages
from maskclippp.utils.errors import UserError


def find(images: list[dict], *pictures: dict) -> list:
    records = [{"file_name": f"/data/{picture['name']}", "image_id": picture.get("id")} for picture in pictures]
    set_names(records, "/data", "test")
    index = InstanceImages(images, "i.json")
    return [index.find(record) for record in records]


def listed(*names: str) -> list[dict]:
    return [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]


def test_equal_stems() -> None:
    folders = listed("a/0001.jpg", "b/0001.jpg")
    # The other file counts in the other order, or not at all.
    assert find(folders, {"name": "a/0001.jpg", "id": 2}, {"name": "b/0001.jpg", "id": 1}) == [1, 2]
    assert find(folders, {"name": "b/0001.jpg"}, {"name": "a/0001.jpg"}) == [2, 1]
    suffixes = listed("1.jpg", "1.png")
    assert find(suffixes, {"name": "1.png", "id": 1}, {"name": "1.jpg", "id": 2}) == [2, 1]
    assert find(listed("0001.jpg"), {"name": "x/0001.png", "id": 7}) == [1]


def test_ids_where_names_are_not_told() -> None:
    """Ids match as numbers, and are returned as the file lists them."""
    assert find([{"id": 4}, {"id": "5"}], {"name": "a.jpg", "id": 5}, {"name": "b.jpg", "id": "004"}) == ["5", 4]


def test_other_pictures() -> None:
    for name in ("c/0001.jpg", "0002.jpg"):
        with pytest.raises(UserError, match=rf"{name}: i\.json has no such image"):
            find(listed("a/0001.jpg", "b/0001.jpg"), {"name": name, "id": 1})


def test_images_that_were_not_shown_do_not_count(tmp_path, caplog) -> None:
    """One of two images is evaluated, perfectly: AP 100 of that one, and it is said."""
    mask = torch.zeros(1, 20, 20)
    mask[:, 5:15, 5:15] = 1
    run = coco_mask.encode(mask[0].byte().numpy().copy(order="F"))
    run = {"size": run["size"], "counts": run["counts"].decode()}
    entry = {"category_id": 1, "iscrowd": 0, "area": 100, "bbox": [5, 5, 10, 10], "segmentation": run}
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 20, "width": 20} for n in (1, 2)],
        "annotations": [entry | {"id": n, "image_id": n} for n in (1, 2)],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "i.json").write_text(json.dumps(content))
    instances = Instances((20, 20), pred_masks=mask, scores=torch.ones(1), pred_classes=torch.zeros(1).long())
    evaluator = InstanceEvaluator(tmp_path / "i.json", {1: 0}, ["dog"])
    evaluator.process([{"file_name": "1.jpg", "image_id": 1}], [{"instances": instances}])
    with caplog.at_level(logging.WARNING):
        assert evaluator.evaluate()["segm"]["AP"] == pytest.approx(100)
    assert "only 1 of its 2 images were evaluated" in caplog.text
