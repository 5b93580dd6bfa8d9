"""Class-agnostic average recall of masks with scores: that of pycocotools, and by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskclippp.evaluation.assignment import matched_in_turn
from maskclippp.evaluation.recall import LIMITS, THRESHOLDS, MaskRecallEvaluator

from .conftest import split_over_ranks

NAMES = ["sky", "grass", "cow"]
SIDE = 40


def picture(folder: Path, seed: int, num_masks: int) -> tuple[dict, dict, np.ndarray]:
    """A record with rectangles as segments, one of them a crowd, and masks that fit some of them more or less."""
    rng = np.random.default_rng(seed)
    ids, spots = np.zeros((SIDE, SIDE), np.int32), [(0, 0), (0, 20), (20, 0), (20, 20), (8, 30)]
    sizes = [(rng.integers(6, 20), rng.integers(6, 20)) for _ in spots]
    for number, ((top, left), (height, width)) in enumerate(zip(spots, sizes, strict=True), start=1):
        ids[top : top + height, left : left + width] = number
    Image.fromarray(np.stack([ids, ids * 0, ids * 0], -1).astype(np.uint8)).save(folder / f"{seed}.png")
    numbers = [number for number in range(1, len(spots) + 1) if (ids == number).any()]
    segments = [{"id": number, "category_id": number % 3, "iscrowd": int(number == 3)} for number in numbers]
    masks = []
    for _ in range(num_masks):
        noisy = ids == rng.integers(1, 6)
        noisy ^= rng.random(ids.shape) < rng.choice([0.0, 0.02, 0.1]) * noisy.mean()
        masks.append(np.roll(noisy, rng.integers(-2, 3), axis=1))
    record = {"file_name": f"{seed}.jpg", "pan_seg_file_name": str(folder / f"{seed}.png"), "segments_info": segments}
    scores = torch.from_numpy(rng.integers(0, 30, num_masks) / 30)  # some are equal
    stacked = torch.from_numpy(np.stack(masks)) if masks else torch.zeros(0, SIDE, SIDE, dtype=torch.bool)
    return record, {"pred_masks": stacked, "mask_scores": scores}, ids


def rle(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def recall_of_pycocotools(shown: list[tuple[dict, dict, np.ndarray]]) -> dict[str, float]:
    truth, found = COCO(), []
    annotations = []
    for image, (record, output, ids) in enumerate(shown, start=1):
        for segment in record["segments_info"]:
            mask = ids == segment["id"]
            common = {"id": len(annotations) + 1, "image_id": image, "category_id": segment["category_id"] + 1}
            common |= {"area": int(mask.sum()), "iscrowd": segment["iscrowd"], "segmentation": rle(mask)}
            annotations.append(common)
        for mask, score in zip(output["pred_masks"].numpy(), output["mask_scores"].tolist(), strict=True):
            found.append({"image_id": image, "category_id": 1, "segmentation": rle(mask), "score": score})
    images = [{"id": image, "height": SIDE, "width": SIDE} for image in range(1, len(shown) + 1)]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(NAMES)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.dataset = {"images": images, "annotations": annotations, "categories": categories}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.params.useCats, evaluation.params.maxDets = 0, [1, *LIMITS]
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, 0, 1:]  # threshold, class, area, number of masks
    return {f"AR@{limit}": 100 * recall[:, index].mean() for index, limit in enumerate(LIMITS)}


def test_recall_is_that_of_pycocotools(tmp_path) -> None:
    """Over several pictures and processes, with more than 100 masks, none, equal scores, a crowd, and free pixels."""
    counts = (30, 130, 0, 5, 60, 12)
    shown = [picture(tmp_path, seed, count) for seed, count in enumerate(counts)]
    records, outputs = [record for record, _, _ in shown], [output for _, output, _ in shown]
    found = split_over_ranks(lambda: MaskRecallEvaluator(NAMES, panoptic=True), records, outputs).evaluate()
    expected = recall_of_pycocotools(shown)
    assert 20 < expected["AR@10"] < expected["AR@100"] < 100
    for name, value in expected.items():
        assert found["mask_recall"][name] == pytest.approx(value, abs=1e-9)
    assert found["mask_recall"]["AR"] > expected["AR@100"]  # segments may share a mask there


def test_masks_take_segments_in_turn() -> None:
    iou = np.array([[0.9, 0.6, 0.0], [0.8, 0.0, 0.0], [0.0, 0.0, 0.5]])
    # The second mask fits only what the first has taken.
    assert matched_in_turn(iou, np.array([0.5, 0.7]), (1, 2, 9)).tolist() == [[1, 1], [1, 1], [2, 1]]
    assert matched_in_turn(iou[:0], np.array([0.5]), (1, 2)).tolist() == [[0], [0]]
    assert matched_in_turn(iou[:, :0], np.array([0.5]), (1, 2)).tolist() == [[0], [0]]


def test_masks_without_scores_have_no_rank(tmp_path, caplog) -> None:
    """Which of them would count is not known: no number is made up, and that is said."""
    caplog.set_level("INFO")
    shown = [picture(tmp_path, seed, 20) for seed in range(2)]
    evaluator = MaskRecallEvaluator(NAMES, panoptic=True)
    evaluator.process([shown[0][0]], [shown[0][1]])
    evaluator.process([shown[1][0]], [{"pred_masks": shown[1][1]["pred_masks"]}])
    scores = evaluator.evaluate()["mask_recall"]
    assert "AR" in scores and not {"AR@10", "AR@100"} & scores.keys()
    assert "No AR@10 and AR@100: the masks of 1 of 2 images have no scores" in caplog.text
    assert len(THRESHOLDS) == 10
