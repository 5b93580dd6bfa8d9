"""Label maps made tile by tile: the arg-max of all classes at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskclippp.inference import class_probabilities, semantic_labels, semantic_scores
from maskclippp.structures import ResampledMasks


def smooth_masks(count: int, size: tuple[int, int], seed: int) -> Tensor:
    """Soft blobs, as a generator gives them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 5, 6, generator=generator) * 4
    return ResampledMasks.of(coarse).resize(size, "bicubic").dense().sigmoid()


def case(count: int, classes: int, sharpness: float, seed: int = 0) -> tuple[Tensor, ResampledMasks]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes + 1, generator=generator) * sharpness
    masks = ResampledMasks.of(smooth_masks(count, (40, 56), seed)).resize((160, 224)).crop((150, 210))
    return logits, masks.resize((190, 260))


@pytest.mark.parametrize("sharpness", [0.0, 0.3, 3.0, 30.0])
@pytest.mark.parametrize("classes", [3, 50, 400])
def test_equal_to_the_arg_max_of_all_scores(classes, sharpness):
    logits, masks = case(12, classes, sharpness)
    probs = class_probabilities(logits, classes)
    scores = torch.einsum("qk,qhw->khw", probs.double(), masks.dense().double())
    labels = semantic_labels([(probs, masks)])
    assert labels.shape == (190, 260)
    chosen = scores.gather(0, labels[None])[0]
    best = scores.amax(dim=0)
    # Where the best two classes differ by more than rounding, the label is the best one.
    assert ((best - chosen) <= 1e-6 * best).all()
    if sharpness >= 3:
        assert labels.equal(scores.argmax(dim=0))


@pytest.mark.parametrize("classes", [3, 40])
def test_scores_are_the_same_whatever_is_resized(classes):
    logits, masks = case(12, classes, 1.0)
    expected = torch.einsum("qk,qhw->khw", class_probabilities(logits, classes), masks.dense())
    torch.testing.assert_close(semantic_scores(logits, masks, classes), expected, rtol=1e-5, atol=1e-5)


def test_views_add_up():
    parts = [(class_probabilities(logits, 20), masks) for logits, masks in (case(9, 20, 3.0, seed) for seed in (1, 2))]
    parts[1] = (parts[1][0], parts[1][1].hflip())
    scores = sum(torch.einsum("qk,qhw->khw", probs, masks.dense()) for probs, masks in parts)
    assert (semantic_labels(parts) == scores.argmax(dim=0)).float().mean() > 0.9999


def test_without_masks_the_first_class():
    assert semantic_labels([(torch.zeros(0, 5), ResampledMasks.of(torch.zeros(0, 7, 9)))]).unique().tolist() == [0]


def test_scores_that_are_no_numbers_do_not_stop_an_evaluation():
    """They are those of a model that diverged; the labels mean nothing then, but are of the vocabulary."""
    logits, masks = case(12, 50, 3.0)
    logits[0, 0] = float("nan")
    labels = semantic_labels([(class_probabilities(logits, 50), masks)])
    assert labels.shape == (190, 260) and 0 <= labels.min() <= labels.max() < 50


def test_exact_under_autocast():
    logits, masks = case(12, 400, 3.0)
    probs = class_probabilities(logits, 400)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = semantic_labels([(probs, masks)])
    assert found.equal(semantic_labels([(probs, masks)]))


def test_void_takes_its_part():
    probs = class_probabilities(torch.zeros(1, 4), 3)
    torch.testing.assert_close(probs, torch.full((1, 3), 0.25))
