"""Cosine similarities, heads, and the maximum over synonyms."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from maskclippp.config import default_config
from maskclippp.similarity import build_psm, cosine_similarity, max_over_synonyms
from maskclippp.similarity.psm import DummyPSM, LinearPSM, fold
from maskclippp.utils.errors import UserError


def test_cosine():
    masks = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    text = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    expected = torch.tensor([[[0.6, 0.8]], [[0.0, -1.0]]])
    torch.testing.assert_close(cosine_similarity(masks, text), expected)
    torch.testing.assert_close(cosine_similarity(masks, text, torch.tensor(math.log(10.0))), 10 * expected)
    torch.testing.assert_close(cosine_similarity(masks, text, torch.tensor(50.0)), 100 * expected)
    assert cosine_similarity(masks[:0], text).shape == (0, 1, 2)


@pytest.mark.parametrize("templates", [1, 14])
def test_folded_linear_psm_equals_both_maps(templates):
    torch.manual_seed(0)
    psm = LinearPSM(num_templates=templates, width=48)
    similarity = torch.randn(5, 7, templates) * 20
    with torch.no_grad():
        torch.testing.assert_close(psm.eval()(similarity), psm.train()(similarity), rtol=1e-5, atol=2e-5)


def test_linear_psm_by_hand():
    psm = LinearPSM(num_templates=2, width=1).eval()
    with torch.no_grad():
        for parameter, value in zip(psm.parameters(), (torch.tensor([[1.0, 2.0]]), 3.0, 4.0, 5.0), strict=True):
            parameter.copy_(torch.as_tensor(value))
    torch.testing.assert_close(psm(torch.tensor([[[1.0, 10.0]]])), torch.tensor([[4.0 * (1 + 20 + 3) + 5]]))


@given(st.permutations(range(6)))
@settings(max_examples=10, deadline=None)
def test_heads_treat_every_class_the_same_way(order):
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randn(3, 6, 2, generator=generator)
    for psm in (LinearPSM(num_templates=2, width=4), DummyPSM()):
        torch.testing.assert_close(psm(similarity[:, order]), psm(similarity)[:, order])


def test_dummy_is_the_mean():
    assert DummyPSM()(torch.tensor([[[1.0, 3.0]]])).tolist() == [[2.0]]


def test_max_over_synonyms():
    logits = torch.tensor([[1.0, 5.0, -2.0, 3.0], [-7.0, -9.0, -8.0, -1.0]])
    index = torch.tensor([0, 1, 1, 2])
    assert max_over_synonyms(logits, index, 3).tolist() == [[1.0, 5.0, 3.0], [-7.0, -8.0, -1.0]]
    with_void = torch.cat([logits, torch.tensor([[0.5], [9.0]])], dim=1)
    assert max_over_synonyms(with_void, index, 3).tolist() == [[1.0, 5.0, 3.0, 0.5], [-7.0, -8.0, -1.0, 9.0]]
    assert max_over_synonyms(logits[:0], index, 3).shape == (0, 3)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_max_over_synonyms_equals_the_loop(counts, masks):
    index = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    logits = torch.randn(masks, len(index), generator=torch.Generator().manual_seed(sum(counts)))
    loop = torch.stack([logits[:, index == number].amax(dim=1) for number in range(len(counts))], dim=1)
    assert torch.equal(max_over_synonyms(logits, index, len(counts)), loop)


def test_gradient_of_the_maximum_reaches_the_winner_only():
    logits = torch.tensor([[1.0, 5.0, 2.0]], requires_grad=True)
    max_over_synonyms(logits, torch.tensor([0, 0, 1]), 2).sum().backward()
    assert logits.grad.tolist() == [[0.0, 1.0, 1.0]]


def test_built_from_a_config():
    node = default_config().MODEL.MASKCLIPPP
    node.PSM.NAME, node.PSM.CORR_WIDTH = "LinearPSM", 12
    assert build_psm(node, 14, {}).corr_proj_in[0].weight.shape == (12, 14)
    node.PSM.NAME = "LinearPsm"
    with pytest.raises(UserError, match="no psm is called 'LinearPsm'; did you mean LinearPSM"):
        build_psm(node, 14, {})


def head(name, init, templates=14, seed=0):
    """A head as a config with ``PSM.INIT`` makes it, and the generator's next number."""
    node = default_config().MODEL.MASKCLIPPP
    node.PSM.NAME, node.PSM.CORR_WIDTH, node.PSM.INIT = name, 64, init
    node.PSM.CORR_RESIDUAL, node.PSM.IN_FEATURES = True, ["p_embs"]
    torch.manual_seed(seed)
    shapes = {"emb": ShapeSpec(channels=8), "p_embs": ShapeSpec(channels=8)}
    return build_psm(node, templates, shapes), float(torch.rand(()))


@pytest.mark.parametrize("templates", [1, 14])
@pytest.mark.parametrize("seed", range(6))
def test_a_head_that_starts_as_the_mean_over_templates(templates, seed):
    similarity = torch.randn(5, 7, templates) * 20
    for name, parts in (
        ("LinearPSM", ("corr_proj_in.0", "corr_proj_out.0")),
        ("PseudoTextPSM", ("corrs_in", "corrs_out")),
    ):
        psm, following = head(name, "template_mean", templates, seed)
        first, second = (psm.get_submodule(part) for part in parts)
        mean = second(first(similarity)).squeeze(-1)
        torch.testing.assert_close(mean, similarity.mean(dim=-1) / 3, rtol=1e-5, atol=1e-5)
        published, published_following = head(name, "published", templates, seed)
        assert following == published_following  # what is drawn afterwards does not depend on the start
        units = published.get_submodule(parts[0]).weight[:, :1]
        assert first.weight.equal(units.expand_as(first.weight)) and len(units.unique()) == 64


def test_the_published_start_is_the_default_and_of_either_sign():
    assert default_config().MODEL.MASKCLIPPP.PSM.INIT == "published"
    slopes = [
        fold(psm.corr_proj_in[0], psm.corr_proj_out[0])[0].item()
        for psm in (head("LinearPSM", "published", 1, seed)[0] for seed in range(6))
    ]
    assert min(slopes) < 0 < max(slopes)
    for templates, width in ((1, 64), (14, 32)):  # the spread that the other start takes as its slope
        drawn = [LinearPSM(num_templates=templates, width=width) for _ in range(300)]
        slopes = torch.stack([fold(psm.corr_proj_in[0], psm.corr_proj_out[0])[0].sum() for psm in drawn])
        assert slopes.std().item() == pytest.approx(1 / 3, abs=0.05)
    torch.manual_seed(3)
    expected = torch.nn.Linear(1, 64).weight
    assert head("LinearPSM", "published", 1, 3)[0].corr_proj_in[0].weight.equal(expected)


def test_an_unknown_start():
    with pytest.raises(UserError, match=r"PSM.INIT 'mean' is unknown; choose one of published, template_mean"):
        head("LinearPSM", "mean")
