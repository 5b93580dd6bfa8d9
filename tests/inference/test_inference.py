"""Class logits and masks of one image to task results, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from maskclippp.inference import (
    add_void,
    closed_to_test_logits,
    geometric_ensemble,
    instance_inference,
    mask_classes,
    panoptic_inference,
    semantic_scores,
    train_to_test_lookup,
)

LEFT = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
RIGHT = 1 - LEFT
SURE = 20.0


def one_hot(*classes: int, columns: int) -> torch.Tensor:
    """Logits that are sure of one class each."""
    return SURE * torch.eye(columns)[list(classes)]


def test_ensemble_with_exponent_one_keeps_ours():
    ours, theirs = torch.randn(3, 4), torch.randn(3, 5)
    mixed = geometric_ensemble(ours, theirs, torch.tensor([True, False, True, False]), alpha=1.0, beta=1.0)
    torch.testing.assert_close(mixed, ours.log_softmax(dim=-1), rtol=0, atol=1e-5)


def test_ensemble_by_hand():
    ours, theirs = torch.log(torch.tensor([[0.8, 0.2]])), torch.log(torch.tensor([[0.5, 0.5, 3.0]]))
    mixed = geometric_ensemble(ours, theirs, torch.tensor([True, False]), alpha=0.5, beta=0.0)
    torch.testing.assert_close(mixed.exp(), torch.tensor([[math.sqrt(0.4), 0.5]]), rtol=0, atol=1e-6)


def test_void():
    result = add_void(torch.log(torch.tensor([[0.9, 0.1]])), torch.log(torch.tensor([[0.25, 0.25, 0.5]]))).exp()
    torch.testing.assert_close(result, torch.tensor([[0.45, 0.05, 0.5]]), rtol=0, atol=1e-6)


def test_mask_classes_leaves_void_out_and_may_be_restricted():
    logits = torch.tensor([[1.0, 3.0, 2.0, 9.0]])
    assert mask_classes(logits, 3).tolist() == [1]
    assert mask_classes(logits, 3, among=torch.tensor([True, False, True])).tolist() == [2]
    assert mask_classes(logits[:0], 3).tolist() == []


def test_semantic_scores():
    masks = torch.stack([LEFT, RIGHT])
    scores = semantic_scores(one_hot(2, 0, columns=3), masks, 3)
    assert scores.argmax(dim=0).tolist() == [[2, 2, 0, 0]]
    torch.testing.assert_close(scores.sum(dim=0), torch.ones(1, 4))
    with_void = semantic_scores(one_hot(3, 0, columns=4), masks, 3)
    assert with_void.shape == (3, 1, 4) and float(with_void[:, 0, 0].sum()) < 1e-6
    assert semantic_scores(torch.zeros(0, 3), torch.zeros(0, 1, 4), 3).abs().sum() == 0


def panoptic(logits, masks, **options):
    defaults = {"num_classes": 3, "thing_ids": [0], "object_threshold": 0.1, "overlap_threshold": 0.5}
    return panoptic_inference(logits, masks, **(defaults | options))


def test_panoptic_things_stay_apart_and_stuff_merges():
    masks = torch.stack([LEFT, RIGHT])
    segmentation, segments = panoptic(one_hot(0, 0, columns=4), masks)
    assert segmentation.tolist() == [[1, 1, 2, 2]] and segmentation.dtype == torch.int32
    assert segments == [
        {"id": 1, "isthing": True, "category_id": 0},
        {"id": 2, "isthing": True, "category_id": 0},
    ]
    segmentation, segments = panoptic(one_hot(2, 2, columns=4), masks)
    assert segmentation.tolist() == [[1, 1, 1, 1]]
    assert segments == [{"id": 1, "isthing": False, "category_id": 2}]


def test_panoptic_drops_void_low_scores_and_covered_masks():
    masks = torch.stack([LEFT, torch.ones(1, 4)])
    assert panoptic(one_hot(3, 1, columns=4), masks)[0].tolist() == [[1, 1, 1, 1]]
    assert panoptic(torch.zeros(2, 4), masks, object_threshold=0.5)[1] == []
    # The first mask wins its two pixels; two of four are too few for the second.
    logits = one_hot(0, 1, columns=4) * torch.tensor([[1.0], [0.1]])
    segmentation, segments = panoptic(logits, masks, overlap_threshold=0.6)
    assert segmentation.tolist() == [[1, 1, 0, 0]] and len(segments) == 1
    assert panoptic(torch.zeros(0, 4), torch.zeros(0, 1, 4))[0].tolist() == [[0, 0, 0, 0]]


def test_panoptic_leaves_faint_pixels_free():
    segmentation, _ = panoptic(one_hot(0, columns=4), torch.tensor([[[0.9, 0.6, 0.4, 0.0]]]), overlap_threshold=0.1)
    assert segmentation.tolist() == [[1, 1, 0, 0]]


def test_instances():
    logits = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
    masks = torch.stack([0.8 * LEFT, RIGHT])
    found = instance_inference(logits, masks, num_classes=3, top_k=3, with_boxes=True)
    assert found.pred_classes.tolist() == [0, 1, 2]
    torch.testing.assert_close(found.scores, torch.tensor([0.7 * 0.8, 0.6, 0.3]), rtol=0, atol=1e-5)
    assert found.pred_masks[0].tolist() == LEFT.tolist()
    assert found.pred_boxes.tensor[0].tolist() == [0, 0, 2, 1]
    things = instance_inference(logits, masks, num_classes=3, top_k=3, thing_ids=torch.tensor([1]))
    assert things.pred_classes.tolist() == [1] and things.pred_boxes.tensor.tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("top_k", [1, 100])
def test_instances_without_masks(top_k):
    assert len(instance_inference(torch.zeros(0, 3), torch.zeros(0, 4, 4), num_classes=3, top_k=top_k)) == 0


def test_train_classes_land_on_the_first_test_class_that_shares_a_name():
    train = [["person", "human"], ["tv", "screen"], ["road"]]
    test = [["man", "human"], ["human", "person"], ["screen"]]
    lookup = train_to_test_lookup(train, test)
    assert lookup.tolist() == [0, 2, 3, 3]
    logits = torch.tensor([[1.0, 2.0, 30.0, 50.0]])
    moved = closed_to_test_logits(logits, lookup, 3)
    assert moved.tolist() == [[1.0, 0.0, 2.0, 40.0]]  # the mean of all that lands on void
