"""Mask accuracy: golden and hand-made numbers, several processes, files, wrong input."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import torch

from maskclippp.evaluation.mask_accuracy import MaskAccEvaluator, mask_accuracy_scores
from maskclippp.utils.errors import UserError

from .conftest import check_scores, split_over_ranks


@pytest.mark.parametrize("name", ["eval_mask_acc", "eval_mask_acc_panoptic"])
def test_golden(golden_case, name: str) -> None:
    case = golden_case(name)
    evaluator = MaskAccEvaluator(case.classes, panoptic=name.endswith("panoptic"))
    evaluator.process(case.records, case.outputs("mask_cls", "pred_classes"))
    assert (evaluator.confusion == case.tensors["out.confusion"]).all()
    check_scores(evaluator.evaluate()["mask_acc"], case.expected)
    check_scores(mask_accuracy_scores(case.tensors["out.confusion"], case.classes, case.seen), case.expected)


def test_two_ranks_give_what_one_gives(golden_case) -> None:
    case = golden_case("eval_mask_acc")
    outputs = case.outputs("mask_cls", "pred_classes")
    joined = split_over_ranks(lambda: MaskAccEvaluator(case.classes), case.records, outputs)
    check_scores(joined.evaluate()["mask_acc"], case.expected)


def test_every_mask_counts_once_and_absent_classes_not_at_all() -> None:
    confusion = np.zeros((5, 5), int)
    confusion[0, 0], confusion[3, 0] = 3, 1  # class 0: 3 of 4
    confusion[3, 3] = 2  # class 3: 2 of 2
    confusion[0, 2] = 5  # class 2: 0 of 5; class 1 has no mask
    scores = mask_accuracy_scores(confusion, ["a,x", "b", "c", "d"], np.array([True, True, False, False]))
    assert scores["mMaskAcc"] == pytest.approx((75 + 0 + 100) / 3)
    assert (scores["mMaskAcc(S)"], scores["mMaskAcc(U)"]) == (75, 50)
    assert scores["MaskAcc-a,x"] == 75 and math.isnan(scores["MaskAcc-b"])
    assert list(scores) == ["mMaskAcc", "mMaskAcc(S)", "mMaskAcc(U)", *(f"MaskAcc-{n}" for n in ("a,x", "b", "c", "d"))]


@pytest.mark.parametrize("seen", [None, np.ones(3, bool), np.zeros(3, bool)])
def test_no_seen_and_unseen_without_both_kinds(seen) -> None:
    scores = mask_accuracy_scores(np.eye(4, dtype=int), ["a", "b", "c"], seen, among_unseen=np.eye(4, dtype=int))
    assert [key for key in scores if "(" in key] == []


def test_accuracy_among_unseen_classes(label_file) -> None:
    evaluator = MaskAccEvaluator(["a", "b", "c"])
    output = {
        "mask_cls": torch.tensor([0, 0]),
        "mask_cls_unseen": torch.tensor([1, 2]),
        "category_overlapping_mask": torch.tensor([True, False, False]),
    }
    evaluator.process([{"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}], [output])
    scores = evaluator.evaluate()["mask_acc"]
    assert list(scores)[:4] == ["mMaskAcc", "mMaskAcc(S)", "mMaskAcc(U)", "mMaskAcc(U|U)"]
    assert [scores[key] for key in list(scores)[:4]] == [50, 100, 0, 100]


def test_files_tables_and_reset(label_file, tmp_path, caplog) -> None:
    evaluator = MaskAccEvaluator(["a,x", "b", "c"], output_dir=str(tmp_path / "out"))
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    output = {"mask_cls": torch.tensor([0, 1]), "category_overlapping_mask": torch.tensor([True, False, False])}
    evaluator.process([record], [output])
    evaluator.reset()
    evaluator.process([record], [output])
    with caplog.at_level(logging.INFO):
        scores = evaluator.evaluate()["mask_acc"]
    saved = torch.load(tmp_path / "out/mask_acc_evaluation.pth", weights_only=True)
    assert list(saved) == list(scores) and saved["mMaskAcc"] == 50
    written = json.loads((tmp_path / "out/mask_acc_evaluation.json").read_text())
    assert written["MaskAcc-a,x"] == 100 and written["MaskAcc-b"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mask_acc_evaluation.csv",
        "mask_acc_evaluation.json",
        "mask_acc_evaluation.pth",
    ]
    assert "Seen Category Results" in caplog.text and "Unseen Category Results" in caplog.text
    assert "| a          | 100.000" in caplog.text and "Mask accuracy of 2 masks: mMaskAcc 50.000" in caplog.text


def test_image_without_masks_is_skipped(tmp_path, label_file) -> None:
    evaluator = MaskAccEvaluator(["a"], panoptic=True)
    evaluator.process([{"file_name": "a.jpg", "segments_info": []}], [{"mask_cls": torch.zeros(0, dtype=torch.long)}])
    with pytest.raises(UserError, match="no image has a ground-truth mask"):
        evaluator.evaluate()


def test_wrong_input(label_file) -> None:
    evaluator = MaskAccEvaluator(["a", "b", "c"])
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(label_file)}
    with pytest.raises(UserError, match=r"labels\.png: 2 ground-truth masks but 3 predictions"):
        evaluator.process([record], [{"mask_cls": torch.tensor([0, 1, 2])}])
    with pytest.raises(UserError, match=r"a\.jpg: mask accuracy needs a label map, this record has no sem_seg"):
        evaluator.process([{"file_name": "a.jpg"}], [{"mask_cls": torch.tensor([0])}])
    with pytest.raises(UserError, match=r"a\.jpg: mask accuracy needs panoptic segments"):
        MaskAccEvaluator(["a"], panoptic=True).process([{"file_name": "a.jpg"}], [{"mask_cls": torch.tensor([0])}])
    with pytest.raises(UserError, match=r"labels\.png: label 2 in 3 pixels; expected 0 to 1 or 255"):
        MaskAccEvaluator(["a", "b"]).process([record], [{"mask_cls": torch.tensor([0, 1])}])


def test_what_the_truth_lacks_is_told(label_file, caplog) -> None:
    def make() -> MaskAccEvaluator:
        return MaskAccEvaluator(["a", "b, x", "c"])

    records = [{"file_name": f"{name}.jpg", "sem_seg_file_name": str(label_file)} for name in "ab"]
    outputs = [{"mask_cls": torch.tensor([0, 2])}] * 2
    assert split_over_ranks(make, records, outputs).evaluate()["mask_acc"]["mMaskAcc"] == 100
    (told,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("Ground truth: 1 of 3 classes occur nowhere (b), 16.7 % of the pixels are ignored; ")
