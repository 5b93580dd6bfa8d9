"""Weights of masks and the loss they make."""

from __future__ import annotations

import logging

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from maskclippp.config import default_config
from maskclippp.criteria import build_criterion
from maskclippp.criteria.mask_cross_entropy import ReweightCELoss, mask_weights
from maskclippp.utils.errors import UserError

BATCH = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12)


def test_weights_by_hand():
    labels = torch.tensor([1, 1, 2, 1])
    images = torch.tensor([0, 0, 0, 2])
    torch.testing.assert_close(mask_weights(labels, images, True), torch.tensor([1 / 4, 1 / 4, 1 / 2, 1.0]).double())
    torch.testing.assert_close(mask_weights(labels, images, False), torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]).double())


@given(BATCH, st.booleans())
@settings(max_examples=50, deadline=None)
def test_images_and_classes_share_equally(batch, balance):
    images, labels = torch.tensor(batch).T
    weights = mask_weights(labels, images, balance)
    per_image = torch.zeros(4).double().index_add(0, images, weights)
    present = per_image[images.unique()]
    torch.testing.assert_close(present, torch.ones_like(present))
    if balance:
        for image in images.unique():
            shares = torch.zeros(5).double().index_add(0, labels[images == image], weights[images == image])
            shares = shares[labels[images == image].unique()]
            torch.testing.assert_close(shares, torch.full_like(shares, float(shares[0])))


def inputs(count: int = 6, classes: int = 4):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=generator, requires_grad=True)
    return logits, torch.tensor([0, 1, 1, 3, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1]), torch.ones(count)


def test_one_image_unbalanced_is_plain_cross_entropy():
    logits, labels, _, areas = inputs()
    loss = ReweightCELoss(temperature=0.5)(logits, labels, torch.zeros(6, dtype=torch.long), areas)["loss_ce"]
    torch.testing.assert_close(loss, F.cross_entropy(logits / 0.5, labels))


def test_parts_of_a_batch_add_up():
    logits, labels, images, areas = inputs()
    areas[:4] = 0
    criterion = ReweightCELoss(balance_classes=True, ignore_empty=True)
    assert criterion.count_images([areas[:4], areas[4:], areas[:0]]) == 1
    assert ReweightCELoss().count_images([areas[:4], areas[4:], areas[:0]]) == 2
    whole = criterion(logits, labels, images, areas)["loss_ce"]
    first, second = (
        criterion(logits[part], labels[part], images[part], areas[part], divisor=1)["loss_ce"]
        for part in (slice(0, 4), slice(4, 6))
    )
    assert float(first.detach()) == 0.0
    torch.testing.assert_close(first + second, whole)


def test_order_of_masks_does_not_matter():
    logits, labels, images, areas = inputs()
    criterion = ReweightCELoss(balance_classes=True)
    order = torch.tensor([3, 5, 0, 4, 2, 1])
    torch.testing.assert_close(
        criterion(logits, labels, images, areas)["loss_ce"],
        criterion(logits[order], labels[order], images[order], areas[order])["loss_ce"],
    )


def test_empty_masks_are_left_out_before_weighting():
    logits, labels, images, areas = inputs()
    areas[4:] = 0
    criterion = ReweightCELoss(balance_classes=True, ignore_empty=True)
    torch.testing.assert_close(
        criterion(logits, labels, images, areas)["loss_ce"],
        criterion(logits[:4], labels[:4], images[:4], areas[:4])["loss_ce"],
    )


def test_nothing_left_is_zero_with_a_gradient():
    logits, labels, images, areas = inputs()
    loss = ReweightCELoss(ignore_empty=True)(logits, labels, images, areas * 0)["loss_ce"]
    loss.backward()
    assert float(loss.detach()) == 0.0 and logits.grad.abs().max() == 0.0


def test_ignored_labels_have_no_loss_but_weigh():
    logits, labels, images, areas = inputs()
    ignored = labels.clone()
    ignored[4] = -100
    loss = ReweightCELoss()(logits, ignored, images, areas)["loss_ce"]
    each = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(loss, each[:4].sum() / 8 + each[5] / 4)


def test_masks_that_all_have_the_ignored_label_are_told_once(caplog):
    criterion = ReweightCELoss(ignore_index=2)
    arguments = (torch.zeros(2, 3), torch.tensor([2, 2]), torch.tensor([0, 0]), torch.ones(2))
    assert [float(criterion(*arguments)["loss_ce"]) for _ in range(2)] == [0, 0]
    (told,) = caplog.messages
    assert told.startswith("all 2 masks of this batch have the ignored label 2; such a step changes nothing")


def test_a_loss_that_is_not_a_number(caplog):
    logits, labels, images, areas = inputs()
    broken = logits * torch.nan
    assert torch.isnan(ReweightCELoss()(broken, labels, images, areas)["loss_ce"])
    with caplog.at_level(logging.WARNING):
        loss = ReweightCELoss(ignore_nan=True)(broken, labels, images, areas)["loss_ce"]
    assert float(loss.detach()) == 0.0 and "not a number" in caplog.text


def test_built_from_a_config():
    node = default_config().MODEL.MASKCLIPPP.CRITERION
    node.BALANCE_CLS, node.TEMPERATURE = True, 0.1
    criterion = build_criterion(node)
    assert (criterion.balance_classes, criterion.temperature, criterion.ignore_index) == (True, 0.1, -100)
    node.NAME = "ReweightCE"
    with pytest.raises(UserError, match="did you mean ReweightCELoss"):
        build_criterion(node)
