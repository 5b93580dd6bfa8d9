"""Matching and set loss: by hand, against a plain formulation, gradients, and cases that are easily forgotten."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from maskclippp.config import default_config
from maskclippp.criteria import MaskTargets, SetCriterion
from maskclippp.criteria.matching import WORST, CostWeights, assign, matching_costs, pairwise_mask_costs
from maskclippp.criteria.points import sample_maps, sample_masks, uncertain_points

PREDICTIONS, PICTURES, QUERIES, CHANNELS, CLASSES = 3, 2, 6, 4, 5
POINTS = 40


@pytest.fixture
def inputs():
    """Class logits, mask embeddings and features in float64, and targets: 4 masks on a smaller picture, and 2."""
    torch.manual_seed(0)
    logits = torch.randn(PREDICTIONS, PICTURES, QUERIES, CLASSES + 1, dtype=torch.float64)
    embeddings = torch.randn(PREDICTIONS, PICTURES, QUERIES, CHANNELS, dtype=torch.float64)
    features = torch.randn(PICTURES, CHANNELS, 8, 6, dtype=torch.float64)
    masks = [torch.rand(4, 29, 20) > 0.5, torch.rand(2, 32, 24) > 0.5]
    targets = MaskTargets([torch.tensor([0, 3, 3, 4]), torch.tensor([1, 2])], masks, (32, 24))
    return logits, embeddings, features, targets


def _criterion(**options) -> SetCriterion:
    return SetCriterion(num_classes=CLASSES, num_points=POINTS, **options)


def _padded(targets: MaskTargets, picture: int) -> torch.Tensor:
    height, width = targets.canvas
    masks = targets.masks[picture].double()
    return F.pad(masks, (0, width - masks.shape[2], 0, height - masks.shape[1]))


def _plain_sample(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return F.grid_sample(maps[:, None], 2 * points[:, None] - 1, align_corners=False)[:, 0, 0]


def test_masks_are_sampled_as_padded_float_maps(inputs):
    targets = inputs[-1]
    points = torch.rand(5, 300, 2, dtype=torch.float64) * 1.2 - 0.1
    index = torch.tensor([3, 0, 0, 2, 1])
    found = sample_masks(targets.masks[0], index, points, targets.canvas)
    torch.testing.assert_close(found, _plain_sample(_padded(targets, 0)[index], points))
    shared = sample_masks(targets.masks[0], torch.arange(4), points[:1], targets.canvas)
    torch.testing.assert_close(shared, _plain_sample(_padded(targets, 0), points[:1].expand(4, -1, -1)))


def test_sampling_commutes_with_the_product(inputs):
    _, embeddings, features, _ = inputs
    points = torch.rand(PICTURES, 7, 2, dtype=torch.float64)
    masks = torch.einsum("bqc,bchw->bqhw", embeddings[0], features)
    torch.testing.assert_close(sample_maps(masks, points), embeddings[0] @ sample_maps(features, points))


def test_uncertain_points_by_hand():
    """A vertical edge: of the candidates those near it are kept, and the rest is spread evenly."""
    torch.manual_seed(0)
    logits = torch.linspace(-8, 8, 64, dtype=torch.float64).expand(2, 64, 64)
    points = uncertain_points(logits, 1000, oversampling=3.0, importance=0.75)
    assert points.shape == (2, 1000, 2) and points.min() >= 0 and points.max() <= 1
    assert (points[:, :750, 0] - 0.5).abs().mean() < 0.07
    assert (points[:, :750, 0] - 0.5).abs().max() < 0.26  # at the border of the map logits fall to one half
    assert 0.4 < (points[:, 750:, 0] - 0.5).abs().max() <= 0.5
    assert points[0].ne(points[1]).any()


def test_pairwise_costs_are_those_of_each_pair():
    torch.manual_seed(0)
    x, t = torch.randn(3, 9, dtype=torch.float64) * 4, torch.rand(2, 9, dtype=torch.float64)
    cross_entropy, dice = pairwise_mask_costs(x, t)
    for q in range(3):
        for g in range(2):
            assert math.isclose(cross_entropy[q, g], F.binary_cross_entropy_with_logits(x[q], t[g]))
            s = x[q].sigmoid()
            assert math.isclose(dice[q, g], 1 - (2 * (s * t[g]).sum() + 1) / (s.sum() + t[g].sum() + 1))


def test_matching_finds_the_permutation(inputs):
    """Predictions that are the targets in another order, with other queries between them, are found at once."""
    *_, targets = inputs
    features = torch.zeros(2, CHANNELS, 32, 24)
    embeddings, logits = torch.zeros(1, 2, QUERIES, CHANNELS), torch.zeros(1, 2, QUERIES, CLASSES + 1)
    orders = [torch.tensor([5, 1, 2, 0]), torch.tensor([4, 3])]
    for picture, order in enumerate(orders):
        features[picture, : len(order)] = _padded(targets, picture).float() * 20 - 10
        embeddings[0, picture, order] = torch.eye(CHANNELS)[: len(order)]
        logits[0, picture, order, targets.labels[picture]] = 9
    costs = matching_costs(logits, embeddings, features, targets, weights=CostWeights(2, 5, 5), num_points=200)
    assert costs.shape == (1, 2, QUERIES, 4)
    for (queries, chosen), order in zip(assign(costs, [4, 2]), orders, strict=True):
        assert order[chosen[0]].tolist() == queries[0].tolist()


def test_costs_that_are_not_finite_are_bounded(inputs):
    logits, embeddings, features, targets = inputs
    embeddings[0, 0, 2] = math.nan
    embeddings[1, 1, 0] = math.inf
    costs = matching_costs(logits, embeddings, features, targets, weights=CostWeights(2, 5, 5), num_points=9)
    assert costs.isfinite().all() and (costs[0, 0, 2] == WORST).all()
    assert all(2 not in queries[0] for queries, _ in assign(costs, [4, 2])[:1])


def test_more_masks_than_queries():
    costs = torch.rand(2, 1, 3, 5)
    [(queries, chosen)] = assign(costs, [5])
    assert queries.shape == chosen.shape == (2, 3) and queries.tolist() == [[0, 1, 2]] * 2
    assert chosen[0].tolist() == linear_sum_assignment(costs[0, 0])[1].tolist()


def _plain_losses(criterion, logits, embeddings, features, targets, points):
    """The textbook form for one prediction: full masks of all queries, padded float targets, a loop over pictures."""
    masks = torch.einsum("bqc,bchw->bqhw", embeddings, features)
    count, total_mask, total_dice = sum(map(len, targets.labels)), 0.0, 0.0
    classes = torch.full(logits.shape[:2], CLASSES)
    for picture, (shared, own) in enumerate(points):
        truth = _padded(targets, picture)
        x = _plain_sample(masks[picture], shared.expand(QUERIES, -1, -1))
        t = _plain_sample(truth, shared.expand(len(truth), -1, -1))
        bce = torch.stack([torch.stack([F.binary_cross_entropy_with_logits(a, b) for b in t]) for a in x])
        s = x.sigmoid()
        dice = 1 - (2 * s @ t.T + 1) / (s.sum(1)[:, None] + t.sum(1) + 1)
        label = -logits[picture].softmax(-1)[:, targets.labels[picture]]
        rows, columns = map(torch.tensor, linear_sum_assignment((5 * bce + 2 * label + 5 * dice).detach()))
        classes[picture, rows] = targets.labels[picture][columns]
        x, t = _plain_sample(masks[picture, rows], own), _plain_sample(truth[columns], own)
        total_mask = total_mask + F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(1).sum()
        s = x.sigmoid()
        total_dice = total_dice + (1 - (2 * (s * t).sum(1) + 1) / (s.sum(1) + t.sum(1) + 1)).sum()
    weight = criterion.empty_weight.to(logits.dtype)
    label_loss = F.cross_entropy(logits.transpose(1, 2), classes, weight)
    return 2 * label_loss, 5 * total_mask / count, 5 * total_dice / count


def test_losses_and_gradients_equal_the_plain_form(inputs, monkeypatch):
    """In float64, with the same points: every loss of every prediction, and the gradients of all inputs."""
    logits, embeddings, features, targets = inputs
    shared = torch.rand(PREDICTIONS, PICTURES, POINTS, 2, dtype=torch.float64)
    own = [torch.rand(PREDICTIONS, len(labels), POINTS, 2, dtype=torch.float64) for labels in targets.labels]
    draws = iter(shared.flatten(0, 1))
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: next(draws))
    picked = iter([each.flatten(0, 1) for each in own])
    monkeypatch.setattr("maskclippp.criteria.set_criterion.uncertain_points", lambda masks, *a, **b: next(picked))
    leaves = [tensor.requires_grad_() for tensor in (logits, embeddings, features)]
    criterion = _criterion()
    losses = criterion(*leaves, targets)
    names = [f"loss_{kind}{suffix}" for suffix in ("_0", "_1", "") for kind in ("ce", "mask", "dice")]
    assert sorted(losses) == sorted(names)
    expected = []
    for index in range(PREDICTIONS):
        points = [(shared[index, picture][None], own[picture][index]) for picture in range(PICTURES)]
        expected += _plain_losses(criterion, logits[index], embeddings[index], features, targets, points)
    for name, value in zip(names, expected, strict=True):
        torch.testing.assert_close(losses[name], value, rtol=1e-12, atol=1e-12, msg=name)
    # Distinct factors, so that no two losses can be mixed up.
    factors = range(1, len(names) + 1)
    found = torch.autograd.grad(sum(k * losses[name] for k, name in zip(factors, names, strict=True)), leaves)
    plain = torch.autograd.grad(sum(k * value for k, value in zip(factors, expected, strict=True)), leaves)
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("empty", [[0], [0, 1]])
def test_pictures_without_masks(inputs, empty):
    logits, embeddings, features, targets = inputs
    labels, masks = list(targets.labels), list(targets.masks)
    for picture in empty:
        labels[picture], masks[picture] = labels[picture][:0], masks[picture][:0]
    leaves = [tensor.float().requires_grad_() for tensor in (logits, embeddings, features)]
    losses = _criterion()(*leaves, MaskTargets(labels, masks, targets.canvas))
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    if len(empty) == PICTURES:
        assert losses["loss_mask"] == losses["loss_dice"] == 0
        no_object = -logits[-1].float().log_softmax(-1)[..., -1].mean() * 2
        torch.testing.assert_close(losses["loss_ce"].detach(), no_object)


def test_padding_counts_as_outside(inputs):
    """Masks of a smaller picture give the losses of the same masks padded with zeros."""
    logits, embeddings, features, targets = inputs
    padded = [_padded(targets, picture).bool() for picture in range(PICTURES)]
    losses = []
    for masks in (targets.masks, padded):
        torch.manual_seed(1)
        losses.append(_criterion()(logits, embeddings, features, MaskTargets(targets.labels, masks, (32, 24))))
    assert losses[0] == losses[1]


def test_perfect_predictions_have_almost_no_loss():
    """The two halves of a picture; some loss is left only where they meet."""
    halves = torch.zeros(2, 32, 24, dtype=torch.bool)
    halves[0, :, :12] = halves[1, :, 12:] = True
    features = halves[None].float() * 60 - 30
    logits = torch.full((1, 1, 3, CLASSES + 1), -20.0)
    logits[0, 0, range(3), [4, 2, CLASSES]] = 20.0
    targets = MaskTargets([torch.tensor([2, 4])], [halves.flip(0)], (32, 24))
    embeddings = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]]])
    losses = _criterion(importance=0.0)(logits, embeddings, features, targets)
    assert losses["loss_ce"] < 1e-6 and losses["loss_dice"] / 5 < 0.03 and losses["loss_mask"] / 5 < 0.6


def test_config_and_supervision_of_the_last_only(inputs):
    cfg = default_config()
    cfg.MODEL.MASK_FORMER.DEEP_SUPERVISION = False
    cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = 30
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = CLASSES
    criterion = SetCriterion(cfg)
    assert criterion.weights == CostWeights(label=1.0, mask=20.0, dice=1.0) and criterion.num_points == 30
    assert criterion.empty_weight.tolist() == pytest.approx([1] * CLASSES + [0.1]) and not criterion.state_dict()
    assert sorted(criterion(*inputs)) == ["loss_ce", "loss_dice", "loss_mask"]


def test_half_precision_inputs_are_computed_in_float32(inputs):
    logits, embeddings, features, targets = inputs
    losses = _criterion()(logits.half(), embeddings.half(), features.float(), targets)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_targets_are_checked():
    with pytest.raises(ValueError, match="picture 0: labels .* on a canvas"):
        MaskTargets([torch.zeros(2).long()], [torch.zeros(1, 4, 4, dtype=torch.bool)], (4, 4))
    with pytest.raises(ValueError, match="picture 0"):
        MaskTargets([torch.zeros(1).long()], [torch.zeros(1, 5, 4, dtype=torch.bool)], (4, 4))


def test_parts_of_a_batch_add_up(inputs):
    """Losses and gradients of single pictures, divided by what the whole batch is divided by."""
    logits, embeddings, features, targets = inputs
    leaves = [tensor.requires_grad_() for tensor in (logits, embeddings, features)]
    criterion = _criterion()
    generators = [torch.Generator() for _ in range(PICTURES)]

    def losses(pictures: list[int], divisors: dict[str, float] | None = None) -> dict[str, torch.Tensor]:
        for picture in pictures:
            generators[picture].manual_seed(picture)
        some = MaskTargets(*([each[i] for i in pictures] for each in (targets.labels, targets.masks)), targets.canvas,
                           [generators[i] for i in pictures])  # fmt: skip
        return criterion(logits[:, pictures], embeddings[:, pictures], features[pictures], some, divisors)

    whole = losses([0, 1])
    divisors = criterion.divisors([4, 2], QUERIES)
    assert divisors == {"labels": pytest.approx(6 + 0.1 * 6), "masks": 6.0}
    parts = [losses([picture], divisors) for picture in range(PICTURES)]
    for name, loss in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], loss, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(sum(sum(each.values()) for each in some), leaves) for some in ([whole], parts)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
