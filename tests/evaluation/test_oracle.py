"""Generated masks with the classes of the truth, and their recall."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from maskclippp.evaluation.assignment import best_assignment, best_overlaps, intersections
from maskclippp.evaluation.instance import InstanceEvaluator
from maskclippp.evaluation.oracle import AssignedClassesEvaluator
from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.evaluation.recall import MaskRecallEvaluator
from maskclippp.evaluation.semantic import SemSegEvaluator
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks

NAMES = ["sky", "grass", "cow"]
HEIGHT, WIDTH = 24, 32


@pytest.fixture
def scene(tmp_path):
    """Sky, grass, two cows and an unlabelled row; as label map, panoptic PNG and COCO file. Record and true masks."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[1:12], ids[12:], ids[4:20, 2:10], ids[4:20, 18:30] = 10, 20, 300, 400
    numbers, classes = [10, 20, 300, 400], [0, 1, 2, 2]
    labels = np.full(ids.shape, 255, np.uint8)
    for number, label in zip(numbers, classes, strict=True):
        labels[ids == number] = label
    paths = {name: tmp_path / f"scene_{name}.png" for name in ("labels", "panoptic")}
    Image.fromarray(labels).save(paths["labels"])
    Image.fromarray(np.stack([ids & 255, ids >> 8, ids * 0], -1).astype(np.uint8)).save(paths["panoptic"])
    masks = torch.from_numpy(ids[None] == np.array(numbers)[:, None, None])
    annotations = [
        {
            "id": index + 1,
            "image_id": 1,
            "category_id": 7,
            "iscrowd": 0,
            "area": int(mask.sum()),
            "bbox": [0, 0, 1, 1],
            "segmentation": coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8))),
        }
        for index, mask in enumerate(masks[2:])
    ]
    for annotation in annotations:
        annotation["segmentation"]["counts"] = annotation["segmentation"]["counts"].decode()
    image = {"id": 1, "file_name": "scene.jpg", "height": HEIGHT, "width": WIDTH}
    instances = tmp_path / "instances.json"
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 7, "name": "cow"}]}
    instances.write_text(json.dumps(content))
    record = {
        "file_name": "scene.jpg",
        "image_id": 1,
        "sem_seg_file_name": str(paths["labels"]),
        "pan_seg_file_name": str(paths["panoptic"]),
        "segments_info": [{"id": number, "category_id": label} for number, label in zip(numbers, classes, strict=True)],
    }
    return record, masks, instances


def oracle(instances) -> AssignedClassesEvaluator:
    parts = {
        "semantic": SemSegEvaluator(NAMES, boundary=False),
        "panoptic": PanopticEvaluator(NAMES, [2]),
        "instance": InstanceEvaluator(instances, {7: 2}, ["cow"]),
    }
    return AssignedClassesEvaluator(parts, thing_ids=[2], num_classes=3)


def test_true_masks_in_any_order_are_perfect(scene) -> None:
    record, masks, instances = scene
    noise = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    noise[:, :2, :2] = True
    shuffled = torch.cat([noise, masks])[torch.tensor([4, 0, 2, 5, 1, 3])]
    scores = split_over_ranks(lambda: oracle(instances), [record] * 2, [{"pred_masks": shuffled}] * 2).evaluate()
    assert list(scores) == ["sem_seg", "panoptic_seg", "bbox", "segm"]
    # The cows are one class of the label map: one of the two masks stands for both.
    assert scores["sem_seg"]["IoU-sky"] < 100 and scores["panoptic_seg"]["PQ"] == 100
    assert scores["segm"]["AP"] == pytest.approx(100)


def test_no_segment_is_lost(scene) -> None:
    """The published code loses the first assigned segment, because its number is that of void."""
    record, masks, _ = scene
    evaluator = AssignedClassesEvaluator({"panoptic": PanopticEvaluator(NAMES, [2])}, thing_ids=[2])
    result, segments = evaluator._panoptic(record, masks)["panoptic_seg"]
    assert [segment["id"] for segment in segments] == [1, 2, 3, 4]
    assert [segment["category_id"] for segment in segments] == [0, 1, 2, 2]
    assert [segment["isthing"] for segment in segments] == [False, False, True, True]
    assert (result == 0).sum() == WIDTH


def test_semantic_rules(scene) -> None:
    record, masks, _ = scene
    evaluator = AssignedClassesEvaluator({}, num_classes=3)
    everything = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    labels = evaluator._semantic(record, torch.cat([everything, masks[:1]]))["sem_seg_labels"]
    assert (labels[masks[0]] == 0).all() and labels.unique().tolist() == [0, 2]
    none = evaluator._semantic(record, torch.zeros(0, HEIGHT, WIDTH))["sem_seg_labels"]
    assert (none == 0).all() and none.shape == (HEIGHT, WIDTH)


def test_a_covered_segment_is_dropped(scene) -> None:
    record, masks, _ = scene
    evaluator = AssignedClassesEvaluator({}, thing_ids=[2])
    covered = torch.cat([masks, torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)])
    record["segments_info"].append({"id": 9, "category_id": 1})
    segments = evaluator._panoptic(record, covered)["panoptic_seg"][1]
    assert [segment["id"] for segment in segments] == [5]


def test_assignment_maximises_the_total() -> None:
    left = torch.zeros(2, 8, 16, dtype=torch.bool)
    left[0, :, :10], left[1, :, :8] = True, True
    truth = torch.zeros(2, 8, 16, dtype=torch.bool)
    truth[0, :, :12], truth[1, :, :8] = True, True
    assert best_assignment(left, truth) == [(0, 0), (1, 1)]
    assert best_assignment(left.flip(0), truth) == [(0, 1), (1, 0)]
    assert best_assignment(left[:0], truth) == [] and best_assignment(left, truth[:1]) == [(0, 0)]


def overlaps(masks: np.ndarray, regions: np.ndarray, count: int) -> np.ndarray:
    area = np.bincount(regions.ravel(), minlength=count + 1)[:count]
    return best_overlaps(intersections(masks, regions, count)[:, :count], area)


def test_best_overlaps_by_hand() -> None:
    regions = np.array([[0, 0, 1, 1, 2, 2]])  # two regions, the last two pixels unlabelled
    masks = np.array([[[1, 1, 1, 0, 0, 1]], [[0, 0, 1, 0, 1, 1]]], bool)
    np.testing.assert_allclose(overlaps(masks, regions, 2), [2 / 3, 1 / 2])
    assert overlaps(masks[:0], regions, 2).tolist() == [0, 0]


@pytest.mark.parametrize("panoptic", [False, True])
def test_recall(scene, panoptic: bool, tmp_path) -> None:
    record, masks, _ = scene
    half = masks[:2].clone()
    half[1, :, 16:] = False  # part of the grass
    iou = float((half[1] & masks[1]).sum() / masks[1].sum())
    outputs = [{"pred_masks": half}, {"pred_masks": half[:1]}]

    def make() -> MaskRecallEvaluator:
        return MaskRecallEvaluator(NAMES, panoptic=panoptic, output_dir=str(tmp_path))

    found = split_over_ranks(make, [record] * 2, outputs).evaluate()["mask_recall"]
    segments = 8 if panoptic else 6
    at_half = 1 if iou >= 0.5 else 0
    assert found["R50"] == pytest.approx(100 * (2 + at_half) / segments)
    assert found["masks"] == 1.5 and found["BestIoU-sky"] == pytest.approx(100)
    cow = overlaps(half.numpy(), np.where(masks[2] | (masks[3] if not panoptic else masks[2]), 0, 1), 1)[0]
    assert found["AR-sky"] == 100 and found["BestIoU-cow"] <= 100 * max(cow, 0.3)
    one = make()
    one.process([record] * 2, outputs)
    np.testing.assert_equal(one.evaluate()["mask_recall"], found)
    assert (tmp_path / "mask_recall_evaluation.csv").exists()


def test_crowds_are_no_true_segments(scene) -> None:
    record, masks, _ = scene
    record["segments_info"][3]["iscrowd"] = 1
    evaluator = MaskRecallEvaluator(NAMES, panoptic=True)
    evaluator.process([record], [{"pred_masks": masks[:3]}])
    assert evaluator.evaluate()["mask_recall"]["AR"] == 100


def test_wrong_input(scene) -> None:
    record, masks, _ = scene
    small = {"pred_masks": masks[:, :10]}
    for evaluator in (
        MaskRecallEvaluator(NAMES),
        MaskRecallEvaluator(NAMES, panoptic=True),
        AssignedClassesEvaluator({"semantic": SemSegEvaluator(NAMES)}, num_classes=3),
        AssignedClassesEvaluator({"panoptic": PanopticEvaluator(NAMES, [2])}),
    ):
        with pytest.raises(UserError, match=r"scene_\w+\.png: 24x32 .*image is 10x32"):
            evaluator.process([record], [small])
    with pytest.raises(UserError, match=r"a\.jpg: masks get the classes of the truth"):
        AssignedClassesEvaluator({"semantic": SemSegEvaluator(NAMES)}).process([{"file_name": "a.jpg"}], [small])
    with pytest.raises(UserError, match=r"a\.jpg: mask recall needs true segments"):
        MaskRecallEvaluator(NAMES).process([{"file_name": "a.jpg"}], [small])
    with pytest.raises(UserError, match="no image has a true segment"):
        MaskRecallEvaluator(NAMES).evaluate()
