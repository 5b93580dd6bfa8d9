"""Semantic evaluation: golden and hand-made numbers, both kinds of output, several processes, files, wrong input."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from maskclippp.data.coverage import describe_coverage, percent
from maskclippp.evaluation.boundary import label_boundary
from maskclippp.evaluation.semantic import SemSegEvaluator, semantic_scores
from maskclippp.utils.errors import UserError

from .conftest import check_scores, split_over_ranks


@pytest.mark.parametrize("as_scores", [False, True])
def test_golden(golden_case, as_scores: bool) -> None:
    case = golden_case("eval_semantic")
    outputs = case.outputs("sem_seg_labels", "pred")
    if as_scores:
        for output in outputs:
            output["sem_seg"] = F.one_hot(output.pop("sem_seg_labels"), len(case.classes)).permute(2, 0, 1).float()
    evaluator = SemSegEvaluator(case.classes)
    evaluator.process(case.records, outputs)
    assert (evaluator.confusion == case.tensors["out.confusion"]).all()
    check_scores(evaluator.evaluate()["sem_seg"], case.expected)


def test_two_ranks_give_what_one_gives(golden_case) -> None:
    case = golden_case("eval_semantic")
    outputs = case.outputs("sem_seg_labels", "pred")
    joined = split_over_ranks(lambda: SemSegEvaluator(case.classes), case.records, outputs)
    check_scores(joined.evaluate()["sem_seg"], case.expected)


def test_scores_by_hand() -> None:
    confusion = np.zeros((4, 4), int)
    confusion[0, 0], confusion[0, 1], confusion[1, 1] = 6, 1, 3
    confusion[2, 0] = 2  # class 2 is predicted but absent
    confusion[:, 3] = 50  # ignored pixels
    scores = semantic_scores(confusion, ["a", "b", "c"], np.array([True, False, False]))
    iou = {"a": 6 / 9, "b": 3 / 4}
    assert scores["mIoU"] == pytest.approx(100 * (iou["a"] + iou["b"]) / 2)
    assert scores["mIoU(S)"] == pytest.approx(100 * iou["a"]) and scores["mIoU(U)"] == pytest.approx(100 * iou["b"])
    assert scores["fwIoU"] == pytest.approx(100 * (iou["a"] * 8 + iou["b"] * 4) / 12)
    assert scores["mACC"] == pytest.approx(75) and scores["pACC"] == pytest.approx(75)
    assert math.isnan(scores["IoU-c"]) and math.isnan(scores["ACC-c"])
    names = ["a", "b", "c"]
    assert list(scores) == [
        *("mIoU", "mIoU(S)", "mIoU(U)", "fwIoU"),
        *(f"IoU-{name}" for name in names),
        *("mACC", "pACC"),
        *(f"ACC-{name}" for name in names),
        "hIoU",
    ]
    assert scores["hIoU"] == pytest.approx(2 / (1 / scores["mIoU(S)"] + 1 / scores["mIoU(U)"]))


def test_nothing_labelled_is_nan_without_warning(recwarn) -> None:
    scores = semantic_scores(np.zeros((3, 3), int), ["a", "b"], np.array([True, False]))
    assert all(math.isnan(value) for value in scores.values()) and not recwarn.list


def test_boundary_of_a_square() -> None:
    labels = np.zeros((20, 20), np.int64)
    labels[5:12, 5:12] = 3
    expected = np.zeros((20, 20), int)
    expected[5:12, 5:12] = 3
    expected[6:11, 6:11] = 0
    assert (label_boundary(labels) == expected).all()
    assert (label_boundary(np.full((100, 100), 2))[3:-3, 3:-3] == 0).all()
    assert (label_boundary(np.full((100, 100), 2))[:3] == 2).all()


def test_boundary_of_many_classes_does_not_overflow(label_file) -> None:
    evaluator = SemSegEvaluator([str(index) for index in range(200)])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    evaluator.process([record], [{"sem_seg_labels": torch.tensor([[0, 0, 199], [2, 2, 7]])}])
    assert evaluator._edges.matrix[199].sum() == 1


def test_no_boundary_for_large_vocabularies(label_file) -> None:
    evaluator = SemSegEvaluator([str(index) for index in range(847)])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    evaluator.process([record], [{"sem_seg_labels": torch.tensor([[0, 0, 846], [2, 2, 7]])}])
    scores = evaluator.evaluate()["sem_seg"]
    assert not any(key.startswith("Boundary") for key in scores) and scores["IoU-2"] == pytest.approx(200 / 3)


def test_files_and_tables(label_file, tmp_path, caplog) -> None:
    evaluator = SemSegEvaluator(["a,x", "b", "c"], output_dir=str(tmp_path / "out"))
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    evaluator.process([record], [{"sem_seg_labels": torch.tensor([[0, 0, 2], [2, 2, 1]])}])
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["sem_seg"]
    assert scores["mIoU"] == 100
    saved = torch.load(tmp_path / "out/sem_seg_evaluation.pth", weights_only=True)
    assert list(saved) == list(scores)
    assert json.loads((tmp_path / "out/sem_seg_evaluation.json").read_text())["IoU-b"] is None
    assert "All Category Results" in caplog.text and "Semantic segmentation: mIoU 100.000" in caplog.text


def test_wrong_input(label_file) -> None:
    evaluator = SemSegEvaluator(["a", "b", "c"])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    with pytest.raises(UserError, match=r"labels\.png: 2x3 .height x width., but its image is 2x2"):
        evaluator.process([record], [{"sem_seg_labels": torch.zeros(2, 2, dtype=torch.long)}])
    with pytest.raises(UserError, match=r"labels\.png: the prediction has 5 classes, the dataset 3"):
        evaluator.process([record], [{"sem_seg": torch.zeros(5, 2, 3)}])
    with pytest.raises(UserError, match=r"a\.jpg: semantic evaluation needs a label map"):
        evaluator.process([{"file_name": "a.jpg"}], [{"sem_seg_labels": torch.zeros(2, 3)}])
    with pytest.raises(UserError, match="there was no image"):
        evaluator.evaluate()


def test_what_the_truth_lacks_is_told(tmp_path, caplog) -> None:
    """Masks of 0 and 255 with two classes: mIoU 100 without a pixel of the second class."""
    Image.fromarray(np.array([[0, 0, 0, 255]], np.uint8)).save(tmp_path / "labels.png")
    evaluator = SemSegEvaluator(["wall, plain", "crack, gap"])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "labels.png")}
    evaluator.process([record], [{"sem_seg_labels": torch.zeros(1, 4, dtype=torch.long)}])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == 100
    assert [(each.levelname, each.message) for each in caplog.records if each.levelname == "WARNING"] == [
        (
            "WARNING",
            "Ground truth: 1 of 2 classes occur nowhere (crack), 25.0 % of the pixels are ignored; those that occur "
            "nowhere have no score and are in no mean",
        )
    ]
    caplog.clear()
    evaluator = SemSegEvaluator(["wall"])
    evaluator.process([record], [{"sem_seg_labels": torch.zeros(1, 4, dtype=torch.long)}])
    with caplog.at_level(logging.INFO):
        evaluator.evaluate()
    assert "Ground truth: every class occurs, 25.0 % of the pixels are ignored" in caplog.messages


def test_class_255_of_many_is_a_class(tmp_path) -> None:
    Image.fromarray(np.array([[254, 255, 256, 65535]], np.uint16)).save(tmp_path / "labels.png")
    evaluator = SemSegEvaluator([str(index) for index in range(300)])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "labels.png")}
    evaluator.process([record], [{"sem_seg_labels": torch.tensor([[254, 254, 256, 7]])}])
    scores = evaluator.evaluate()["sem_seg"]
    assert (scores["IoU-254"], scores["IoU-255"], scores["IoU-256"]) == (50, 0, 100)
    assert scores["mIoU"] == 50 and scores["pACC"] == pytest.approx(200 / 3)


def test_many_absent_classes_are_counted() -> None:
    counts = np.zeros(9)
    counts[0] = 1
    told = describe_coverage([f"c{index}, x" for index in range(9)], counts, ignored=1, pixels=100_000)
    assert told == (
        "8 of 9 classes occur nowhere (c1, c2, c3, c4, c5 and 3 more), less than 0.1 % of the pixels are ignored"
    )
    assert percent(99_999, 100_000) == "more than 99.9 %" and percent(0, 7) == "0.0 %" and percent(7, 7) == "100.0 %"
