"""Counting and merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskclippp.evaluation import confusion as module
from maskclippp.evaluation.confusion import Counts, confusion_matrix
from maskclippp.utils.errors import UserError


def test_counts_pairs_with_predictions_in_rows() -> None:
    pred, gt = np.array([[0, 1, 1], [2, 2, 0]], np.uint8), np.array([[0, 1, 2], [2, 255, 255]], np.uint8)
    expected = np.zeros((4, 4), int)
    expected[[0, 1, 1, 2, 2, 0], [0, 1, 2, 2, 3, 3]] = 1
    counted = confusion_matrix(pred, gt, 3, 255)
    assert counted.dtype == np.int64 and (counted == expected).all()


def test_16_bit_labels_do_not_overflow() -> None:
    counted = confusion_matrix(np.array([846], np.uint16), np.array([845], np.uint16), 847, 65535)
    assert counted[846, 845] == 1 and counted.sum() == 1


@pytest.mark.parametrize(
    ("pred", "gt", "message"),
    [
        ([0, 1], [0], r"x\.png: prediction has shape \(2,\), ground truth \(1,\)"),
        ([5], [0], r"x\.png: predicted classes range from 5 to 5, expected 0 to 2"),
        ([-1], [0], "predicted classes range from -1"),
        ([0], [7], "true classes range from 7 to 7"),
    ],
)
def test_wrong_input(pred, gt, message: str) -> None:
    with pytest.raises(UserError, match=message):
        confusion_matrix(np.array(pred), np.array(gt), 3, 255, where="x.png")


def test_two_ranks_merge_exactly(monkeypatch) -> None:
    ranks = [Counts(), Counts(), Counts()]
    ranks[0].add("a", np.array([[2**60 + 1]]))
    ranks[1].add("a", np.array([[2]]))
    ranks[1].add("b", np.array([[5]]))
    ranks[1].set_seen(torch.tensor([True, False]))
    monkeypatch.setattr(module.comm, "gather", lambda own, dst: ranks)
    merged = ranks[0].gather()
    assert merged.matrices["a"].item() == 2**60 + 3 and merged.matrices["b"].item() == 5
    assert merged.seen.tolist() == [True, False]
    monkeypatch.setattr(module.comm, "is_main_process", lambda: False)
    assert ranks[1].gather() is None
