"""Views of masks: equal to doing the steps one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskclippp.structures import ResampledMasks
from maskclippp.structures import resampled_masks as room


def random_masks(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed))


def resized(masks: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    corners = None if mode == "nearest" else False
    return F.interpolate(masks[:, None], size=size, mode=mode, align_corners=corners)[:, 0]


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("size", [(5, 9), (40, 70), (20, 30)])
def test_one_resize(method, size):
    masks = random_masks(3, 20, 30)
    torch.testing.assert_close(ResampledMasks.of(masks).resize(size, method).dense(), resized(masks, size, method))


def test_mean_of_the_pixels_below():
    masks = random_masks(3, 21, 30)
    expected = F.adaptive_avg_pool2d(masks, (5, 7))
    torch.testing.assert_close(ResampledMasks.of(masks).resize((5, 7), "avg").dense(), expected)


@settings(max_examples=30, deadline=None)
@given(
    canvas=st.tuples(st.integers(8, 90), st.integers(8, 90)),
    cut=st.tuples(st.floats(0.3, 1), st.floats(0.3, 1)),
    output=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    margin=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_a_chain_equals_its_steps(canvas, cut, output, margin):
    masks = random_masks(2, 12, 17)
    inner = tuple(max(int(side * part), 1) for side, part in zip(canvas, cut, strict=True))
    padded = tuple(side + more for side, more in zip(output, margin, strict=True))
    view = ResampledMasks.of(masks).resize(canvas).crop(inner).resize(output).pad(padded).hflip()
    steps = resized(resized(masks, canvas)[:, : inner[0], : inner[1]], output)
    expected = F.pad(steps, (0, margin[1], 0, margin[0])).flip(-1)
    assert view.shape == tuple(expected.shape) and view.size == padded
    torch.testing.assert_close(view.dense(), expected, rtol=0, atol=2e-6)


def test_tiles_cover_the_view_once():
    masks = random_masks(2, 30, 41)
    view = ResampledMasks.of(masks).resize((150, 210))
    seen = torch.zeros(150, 210)
    for tile in view.tiles(side=64):
        seen[tile.rows, tile.columns] += 1
        low, high = tile.bounds()
        values = tile.dense().flatten(1)
        assert (values.amin(dim=1) >= low - 1e-6).all() and (values.amax(dim=1) <= high + 1e-6).all()
    assert (seen == 1).all()


def test_bounds_count_the_padding():
    view = ResampledMasks.of(torch.ones(1, 4, 4)).resize((8, 8)).pad((16, 16))
    (tile,) = view.tiles()
    assert [float(bound) for bound in tile.bounds()] == [0.0, 1.0]


def test_nothing_is_computed_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(room, "_step", lambda *_: pytest.fail("computed"))
    view = ResampledMasks.of(random_masks(2, 301, 401)).resize((11, 13)).crop((7, 7)).pad((9, 9))
    assert view.shape == (2, 9, 9) and len(view[:1]) == 1


def test_mixing_and_resizing_commute():
    masks, weights = random_masks(4, 12, 10), torch.rand(3, 4, generator=torch.Generator().manual_seed(1))
    view = ResampledMasks.of(masks).resize((30, 20))
    expected = torch.einsum("cq,qhw->chw", weights, view.dense())
    torch.testing.assert_close(view.mix(weights).dense(), expected)


def test_without_masks_and_without_steps():
    assert ResampledMasks.of(torch.zeros(0, 4, 5)).resize((300, 200)).dense().shape == (0, 300, 200)
    masks = torch.tensor([[[True, False]]])
    assert ResampledMasks.of(masks).resize((1, 2)).dense().equal(masks.float())
    assert not ResampledMasks.of(masks).resize((1, 2)).horizontal.steps


def test_exact_under_autocast():
    masks = random_masks(2, 33, 47)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [ResampledMasks.of(masks).resize(size).dense() for size in ((20, 20), (200, 300))]
        mixed = ResampledMasks.of(masks).mix(torch.eye(2)).values
    for result, size in zip(found, ((20, 20), (200, 300)), strict=True):
        torch.testing.assert_close(result, resized(masks, size))
    assert mixed.equal(masks)


@pytest.mark.parametrize("shape", [(3, 4), (1, 2, 3, 4), (2, 0, 4)])
def test_shapes_are_checked(shape):
    with pytest.raises(ValueError, match=r"not \(Q, H, W\)"):
        ResampledMasks.of(torch.zeros(shape))


def test_tiles_leave_the_region_around_them_alone():
    view = ResampledMasks.of(random_masks(1, 40, 40)).resize((130, 130))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for first, second in zip(view.tiles(), view.tiles(), strict=True):
            assert torch.is_autocast_enabled("cpu")
            assert first.dense().dtype == torch.float32 and second.dense().equal(first.dense())
        assert torch.is_autocast_enabled("cpu")


def test_no_crop_beyond_the_view():
    with pytest.raises(ValueError, match=r"a view of \(8, 8\) cannot be cropped to \(9, 8\)"):
        ResampledMasks.of(random_masks(1, 4, 4)).resize((8, 8)).crop((9, 8))


@pytest.mark.parametrize("size", [(9, 31), (40, 7), (12, 5), (1, 1)])
def test_antialiasing(size):
    masks = torch.rand(3, 12, 17, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(masks[None], size=size, mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(ResampledMasks.of(masks).resize(size, "antialias").dense(), expected)


def test_a_direct_view_forgets_the_resize_before():
    masks = torch.rand(3, 12, 17, generator=torch.Generator().manual_seed(0))
    view = replace(ResampledMasks.of(masks), direct=True)
    found = view.resize((40, 17)).resize((5, 30)).resize((20, 22))
    torch.testing.assert_close(found.dense(), ResampledMasks.of(masks).resize((20, 22)).dense())
    assert view.resize((40, 40)).resize((12, 17)).dense().equal(masks)
    # What is no resize stays, and so does the resize before it.
    cropped = ResampledMasks.of(masks).resize((24, 24)).crop((20, 22))
    found = view.resize((24, 24)).crop((20, 22)).resize((7, 9)).resize((33, 31)).hflip()
    torch.testing.assert_close(found.dense(), cropped.resize((33, 31)).hflip().dense())
    assert not ResampledMasks.of(masks).direct


def test_all_resizes_by_another_method():
    masks = torch.rand(2, 12, 17, generator=torch.Generator().manual_seed(0))
    view = ResampledMasks.of(masks).resize((24, 24)).crop((20, 22)).hflip().resize((33, 31)).pad((40, 40))
    nearest = ResampledMasks.of(masks).resize((24, 24), "nearest").crop((20, 22)).hflip()
    expected = nearest.resize((33, 31), "nearest").pad((40, 40)).dense()
    assert view.resized_by("nearest").dense().equal(expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64])
def test_union(dtype):
    values = (torch.rand(4, 6, 8, generator=torch.Generator().manual_seed(0)) - 0.5).clamp(min=0).to(dtype)
    view = ResampledMasks.of(values).resize((9, 12)).hflip()
    expected = ResampledMasks.of(values.amax(dim=0, keepdim=True)).resize((9, 12)).hflip()
    assert view.union().shape == (1, 9, 12) and view.union().dense().equal(expected.dense())
    assert not view[:0].union().dense().any() and view[:0].union().shape == (1, 9, 12)


def test_logits_follow_the_choice_of_masks():
    logits = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0))
    view = replace(ResampledMasks.of(logits.sigmoid()), logits=logits).resize((9, 12))
    assert view[[2, 0]].logits.equal(logits[[2, 0]]) and view.to(torch.device("cpu")).logits.equal(logits)
    assert view.union().logits is None and view.mix(torch.ones(1, 4)).logits is None
