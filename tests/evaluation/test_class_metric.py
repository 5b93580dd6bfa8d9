"""Metrics of single classes are told apart by the type of their names, whatever these are."""

from __future__ import annotations

import logging
from collections import OrderedDict

import numpy as np
import torch

from maskclippp.engine.evaluate import _print, summary
from maskclippp.evaluation.class_metric import of_class, overall
from maskclippp.evaluation.domains import domain_means
from maskclippp.evaluation.mask_accuracy import mask_accuracy_scores
from maskclippp.evaluation.report import write_results
from maskclippp.evaluation.semantic import semantic_scores

SCORES = {"top-1": 3.0, "mIoU": 2.0, of_class("IoU", "t-shirt"): 1.0, "AP-small": 4.0}


def test_a_hyphen_does_not_hide_a_metric_of_all_classes(caplog) -> None:
    assert SCORES["IoU-t-shirt"] == 1.0
    means = {"top-1": 3.0, "mIoU": 2.0, "AP-small": 4.0}
    assert overall(SCORES) == means
    assert summary({"set": {"task": SCORES}}) == {"task": means}
    two = {name: {"task": SCORES} for name in ("one", "two")}
    assert summary(two) == {name: {"task": means} for name in two}
    assert domain_means(two, {"one": "Earth", "two": "Earth"}) == {"Earth": {"task": means}}
    with caplog.at_level(logging.INFO):
        _print("set", OrderedDict(task=SCORES))
    lines = [line for line in caplog.messages if line.startswith("copypaste")]
    assert lines == ["copypaste: Task: task", "copypaste: top-1,mIoU,AP-small", "copypaste: 3.0000,2.0000,4.0000"]


def test_scores_of_classes_are_no_summary() -> None:
    confusion = np.eye(3, dtype=np.int64) * 4
    assert list(overall(semantic_scores(confusion, ["a", "b-c"]))) == ["mIoU", "fwIoU", "mACC", "pACC"]
    assert list(overall(mask_accuracy_scores(confusion, ["a", "b-c"]))) == ["mMaskAcc"]


def test_files_hold_plain_names(tmp_path) -> None:
    """A reader that allows only plain containers must do."""
    write_results(tmp_path, "x", SCORES)
    found = torch.load(tmp_path / "x.pth", weights_only=True)
    assert found == SCORES and {type(name) for name in found} == {str}
