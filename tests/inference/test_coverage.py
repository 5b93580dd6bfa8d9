"""Pixels under no mask."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskclippp.inference import uncovered_pixels
from maskclippp.structures import ResampledMasks


def partition(size: int = 24) -> torch.Tensor:
    """Three masks that meet in one point and leave nothing free, (3, size, size) bool."""
    masks = torch.zeros(3, size, size, dtype=torch.bool)
    masks[0, : size // 2], masks[1, size // 2 :, : size // 2], masks[2, size // 2 :, size // 2 :] = True, True, True
    return masks


@pytest.mark.parametrize("size", [(24, 24), (17, 31), (7, 5), (80, 61)])
def test_masks_that_meet_leave_nothing_free(size):
    assert not uncovered_pixels([ResampledMasks.of(partition()).resize(size)], solid=True).any()


@pytest.mark.parametrize("size", [(24, 24), (17, 31), (80, 61)])
def test_sharp_masks_end_at_a_half(size):
    masks = partition()[1:]
    found = uncovered_pixels([ResampledMasks.of(masks).resize(size)], solid=True)
    union = masks.any(dim=0)[None, None].float()
    expected = F.interpolate(union, size=size, mode="bilinear", align_corners=False)[0, 0]
    assert found.equal(expected < 0.5) and 0 < found.float().mean() < 1


def test_soft_masks_are_everywhere_but_where_they_are_zero():
    masks = torch.full((2, 4, 6), 1e-6)
    masks[:, :, 5] = 0
    assert uncovered_pixels([ResampledMasks.of(masks)], solid=False).equal(masks[0] == 0)
    assert uncovered_pixels([ResampledMasks.of(masks)], solid=True).all()


@pytest.mark.parametrize("solid", [False, True])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_without_masks_everything_is_free(solid, dtype):
    empty = ResampledMasks.of(torch.zeros((0, 3, 4), dtype=dtype)).resize((6, 7))
    found = uncovered_pixels([empty], solid=solid)
    assert found.shape == (6, 7) and found.all()


def test_views_are_averaged():
    masks = ResampledMasks.of(partition()[1:2])
    everything, nothing = ResampledMasks.of(torch.ones(1, 24, 24)), ResampledMasks.of(torch.zeros(1, 24, 24))
    assert uncovered_pixels([masks, masks, nothing], solid=True).equal(~partition()[1])
    assert not uncovered_pixels([everything, everything, masks], solid=True).any()
    assert uncovered_pixels([masks, masks.hflip(), nothing], solid=True).all()
    assert uncovered_pixels([masks, nothing], solid=False).equal(~partition()[1])
