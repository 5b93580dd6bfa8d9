"""Counting, saving and adding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskclippp.evaluation.confusion import ConfusionCounter, harmonic_mean
from maskclippp.utils.errors import UserError


def counted(pred, gt, num_classes: int, ignore_label: int | None = 255) -> np.ndarray:
    counter = ConfusionCounter(num_classes)
    counter.add(np.array(pred), np.array(gt), ignore_label, where="x.png")
    return counter.matrix


def test_counts_pairs_with_predictions_in_rows() -> None:
    expected = np.zeros((4, 4), int)
    expected[[0, 1, 1, 2, 2, 0], [0, 1, 2, 2, 3, 3]] = 1
    matrix = counted(np.uint8([[0, 1, 1], [2, 2, 0]]), np.uint8([[0, 1, 2], [2, 255, 255]]), 3)
    assert matrix.dtype == np.int64 and (matrix == expected).all()


def test_16_bit_labels_do_not_overflow() -> None:
    matrix = counted(np.array([846], np.uint16), np.array([845], np.uint16), 847, 65535)
    assert matrix[846, 845] == 1 and matrix.sum() == 1


def test_many_images_with_and_without_runs() -> None:
    rng = np.random.default_rng(0)
    counter, expected = ConfusionCounter(3), np.zeros((4, 4), int)
    for size in rng.integers(0, 40, 30):
        pred, gt = (np.repeat(rng.integers(0, 4, size), rng.integers(1, 5)) for _ in range(2))
        pred = np.resize(pred, gt.shape)
        counter.add(pred, gt)
        np.add.at(expected, (pred, gt), 1)
    assert (counter.matrix == expected).all()


def test_the_ground_truth_of_the_caller_is_left_alone() -> None:
    gt = np.array([0, 255], np.int32)
    counted(np.array([1, 1]), gt, 3)
    assert gt.tolist() == [0, 255]


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
        counted(pred, gt, 3)


def test_states_add_up_exactly() -> None:
    counter = ConfusionCounter(1)
    for value in (2**60 + 1, 2):
        counter.add_state(torch.full((2, 2), value))
    counter.add(np.array([0]), np.array([0]))
    state = counter.state_dict()
    counter.add(np.array([0]), np.array([0]))
    assert state[0, 0].item() == 2**60 + 4 and counter.matrix[0, 0] == 2**60 + 5


def test_harmonic_mean() -> None:
    assert harmonic_mean(20, 80) == pytest.approx(32) and harmonic_mean(0, 0) == 0
    assert np.isnan(harmonic_mean(float("nan"), 1))
