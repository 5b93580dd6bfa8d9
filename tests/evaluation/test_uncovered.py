"""Void predictions: a miss of the true class, a false alarm of none; what is saved and said about them."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from maskclippp.evaluation.cityscapes import CityscapesSemSegEvaluator
from maskclippp.evaluation.label_maps import predicted_labels
from maskclippp.evaluation.oracle import AssignedClassesEvaluator
from maskclippp.evaluation.semantic import SemSegEvaluator, semantic_scores
from maskclippp.evaluation.worst import read_classes
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks
from .test_optional_packages import CLASSES, city  # noqa: F401

NAMES = ["a", "b", "c"]
TRUTH = [[0, 0, 2], [2, 2, 255]]  # the label map of the fixture
UNCOVERED = torch.tensor([[False, True, True], [False, True, True]])


def output(void: bool, *, scores: bool = False) -> dict:
    """A prediction that says class 0 under no mask, and is right elsewhere."""
    labels = torch.tensor(TRUTH).masked_fill(UNCOVERED, 0)
    found = {"sem_seg_uncovered": UNCOVERED, "uncovered_is_void": void}
    if scores:
        return found | {"sem_seg": torch.nn.functional.one_hot(labels, 3).permute(2, 0, 1).float()}
    return found | {"sem_seg_labels": labels.masked_fill(UNCOVERED, 3) if void else labels}


def record(label_file) -> dict:
    return {"file_name": str(label_file.parent / "sub" / "a.jpg"), "sem_seg_file_name": str(label_file)}


def test_scores_by_hand() -> None:
    confusion = np.zeros((4, 4), int)
    confusion[0, 0], confusion[0, 1], confusion[1, 1] = 6, 1, 3
    confusion[3] = [2, 0, 5, 40]  # void predictions: class 2 is never called, but 5 of its pixels are there
    scores = semantic_scores(confusion, NAMES)
    assert scores["IoU-a"] == pytest.approx(100 * 6 / 9)  # 6 hits of 8 pixels, one false alarm
    assert scores["IoU-b"] == pytest.approx(75) and scores["IoU-c"] == 0
    assert scores["ACC-a"] == pytest.approx(75) and scores["ACC-c"] == 0
    assert scores["pACC"] == pytest.approx(100 * 9 / 17)
    assert scores["fwIoU"] == pytest.approx(100 * (6 / 9 * 8 + 0.75 * 4) / 17)
    alike = semantic_scores(confusion, NAMES, similarity=np.eye(3))
    assert alike == scores


@pytest.mark.parametrize("as_scores", [False, True])
@pytest.mark.parametrize("void", [False, True])
def test_what_counts(label_file, tmp_path, caplog, void: bool, as_scores: bool) -> None:
    make = partial(SemSegEvaluator, NAMES, output_dir=str(tmp_path / "out"))
    results = [output(void, scores=as_scores)] * 2
    evaluator = split_over_ranks(make, [record(label_file)] * 2, results)
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["sem_seg"]
    confusion = evaluator.confusion / 2
    # One of the two pixels of class 0 and two of the three of class 2 lie under no mask.
    if void:
        assert confusion[3].tolist() == [1, 0, 2, 1] and confusion[0].tolist() == [1, 0, 0, 0]
        assert scores["IoU-a"] == pytest.approx(50) and scores["IoU-c"] == pytest.approx(100 / 3)
        assert scores["uncovered"] == pytest.approx(60)
        assert "60.00 % of 10 labelled pixels lie under no mask; they count as void predictions" in caplog.text
        assert "TEST.UNCOVERED argmax" in caplog.text
    else:
        assert confusion[0].tolist() == [2, 0, 2, 1] and confusion[3].sum() == 0
        assert scores["IoU-a"] == pytest.approx(50) and scores["IoU-c"] == pytest.approx(100 / 3)
        assert "uncovered" not in scores
        assert "60.00 % of 10 labelled pixels lie under no mask; they count as their arg-max class" in caplog.text
    assert scores["pACC"] == pytest.approx(100 * (2 if void else 3) / 5)


def test_nothing_is_said_of_models_that_do_not_say(label_file, caplog) -> None:
    evaluator = SemSegEvaluator(NAMES)
    evaluator.process([record(label_file)], [{"sem_seg_labels": torch.tensor([[0, 0, 2], [2, 2, 1]])}])
    with caplog.at_level(logging.INFO):
        evaluator.evaluate()
    assert "under no mask" not in caplog.text


@pytest.mark.parametrize("void", [False, True])
def test_people_see_no_class_where_no_mask_is(label_file, tmp_path, void: bool) -> None:
    """Whatever the rule of the scores is."""
    options = {"save_predictions": True, "pictures": 1, "output_dir": str(tmp_path / "out")}
    evaluator = SemSegEvaluator(NAMES, **options)
    evaluator.process([record(label_file)], [output(void)])
    (saved,) = (tmp_path / "out/sem_seg_predictions").rglob("*.png")
    assert np.asarray(Image.open(saved)).tolist() == [[0, 255, 255], [2, 255, 255]]
    (case,) = evaluator._worst
    assert read_classes(case.prediction).tolist() == [[0, 3, 3], [2, 3, 3]]


def test_boundaries_of_void_predictions_are_misses(tmp_path) -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:15, 5:15] = 2
    Image.fromarray(truth).save(tmp_path / "labels.png")
    labels = torch.from_numpy(truth.astype(np.int64))
    uncovered = torch.ones(20, 20, dtype=torch.bool)
    evaluator = SemSegEvaluator(NAMES)
    found = {"sem_seg_labels": labels * 0 + 3, "sem_seg_uncovered": uncovered, "uncovered_is_void": True}
    evaluator.process([record(tmp_path / "labels.png")], [found])
    assert evaluator._edges.matrix[:3].sum() == 0 and evaluator._edges.matrix[3].sum() == 400
    scores = evaluator.evaluate()["sem_seg"]
    assert scores["BoundaryIoU-c"] == scores["IoU-c"] == scores["mIoU"] == 0


def test_scores_of_another_vocabulary() -> None:
    with pytest.raises(UserError, match=r"x\.png: the prediction has 5 classes, the dataset 3"):
        predicted_labels({"sem_seg": torch.zeros(5, 2, 3)}, 3, where="x.png")


@pytest.mark.parametrize("void", [False, True])
def test_masks_with_the_classes_of_the_truth(label_file, tmp_path, void: bool) -> None:
    """Pixels of masks that get no class, for there are more masks than classes, are void as well."""
    masks = torch.zeros(3, 2, 3, dtype=torch.bool)
    masks[0, 0, 0], masks[1, 1, 0], masks[2, 0, 1] = True, True, True
    semantic = SemSegEvaluator(NAMES, save_predictions=True, output_dir=str(tmp_path / "out"))
    evaluator = AssignedClassesEvaluator({"semantic": semantic}, num_classes=3)
    evaluator.process([record(label_file)], [{"pred_masks": masks, "uncovered_is_void": void}])
    assert semantic.confusion[3].sum() == (4 if void else 0) and semantic.confusion[0, 0] == (1 if void else 2)
    (saved,) = (tmp_path / "out/sem_seg_predictions").rglob("*.png")
    assert np.asarray(Image.open(saved)).tolist() == [[0, 255, 255], [2, 255, 255]]


@pytest.mark.parametrize("void", [False, True])
def test_cityscapes(city, tmp_path, caplog, void: bool) -> None:  # noqa: F811
    """The official script counts the id of "unlabeled" as a miss."""
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    results = []
    for found in outputs:
        labels = found["sem_seg_labels"].clone()
        labels[:8] = 0  # half of the sky lies under no mask
        uncovered = torch.zeros(labels.shape, dtype=torch.bool)
        uncovered[:8] = True
        results.append({"sem_seg_labels": labels, "sem_seg_uncovered": uncovered, "uncovered_is_void": void})
    make = partial(CityscapesSemSegEvaluator, CLASSES, gt_dir, output_dir=tmp_path / "out", save_predictions=True)
    with caplog.at_level(logging.INFO):
        scores = split_over_ranks(make, records, results).evaluate()["sem_seg"]
    truth = np.zeros((32, 64), int)
    truth[:16], truth[16:, 10:40], truth[20:30, 44:60] = 1, 2, 3
    road = np.stack([result["sem_seg_labels"].numpy() == 0 for result in results])
    false_alarms = (road & (truth != 0))[:, 8 if void else 0 :].sum()
    assert scores["IoU-road"] == pytest.approx(100 * 2 * (truth == 0).sum() / (2 * (truth == 0).sum() + false_alarms))
    assert 0 < scores["IoU-sky"] < 50
    saved = np.asarray(Image.open(tmp_path / "out/sem_seg_predictions/town_000000_000019_leftImg8bit.png"))
    assert (saved[:8] == 0).all() and (saved[8:] != 0).all()  # no class under no mask, whatever the rule of the scores
    assert (
        f"25.00 % of 4096 pixels lie under no mask; they count as {'void' if void else 'their arg-max'}" in caplog.text
    )
