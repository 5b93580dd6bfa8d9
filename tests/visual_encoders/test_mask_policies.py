"""Masks on the patch grid and as attention biases."""

from __future__ import annotations

import math

import pytest
import torch

from maskclippp.visual_encoders.mask_policies import SoftBias
from maskclippp.visual_encoders.mask_policies.patch_grid import DOWNSAMPLE_METHODS, downsample_masks, pad_masks
from maskclippp.visual_encoders.mask_policies.soft_bias import soft_bias


@pytest.mark.parametrize("method", DOWNSAMPLE_METHODS)
def test_every_method_keeps_constant_masks(method):
    assert torch.allclose(downsample_masks(torch.ones(2, 8, 12), (2, 3), method), torch.ones(2, 2, 3))
    assert downsample_masks(torch.ones(0, 8, 12), (2, 3), method).shape == (0, 2, 3)


def test_methods_differ_where_they_should():
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1.0
    assert float(downsample_masks(mask, (1, 1), "avg")) == 1 / 16
    assert float(downsample_masks(mask, (1, 1), "max")) == 1.0
    assert float(downsample_masks(mask, (1, 1), "nearest")) == 1.0
    assert float(downsample_masks(mask, (1, 1), "bilinear")) == 0.0  # only the four middle pixels are looked at


def inside(masks, threshold):
    return SoftBias(num_heads=1, mask_threshold=threshold).inside(masks)


def test_inside_is_strictly_above_the_threshold():
    masks = torch.tensor([[0.0, 0.2, 0.4], [0.0, 0.0, 0.0]])
    assert inside(masks, None).tolist() == [[False, False, True], [False] * 3]
    assert inside(masks, 0.2).tolist() == [[False, False, True], [False] * 3]
    assert inside(masks, 0.0).tolist() == [[False, True, True], [False] * 3]


def test_bias():
    masks = torch.tensor([[[0.5, 0.1]]])
    bias = soft_bias(masks, masks > 0.25, torch.tensor([0.0, 1.0]))
    assert bias.shape == (1, 2, 1, 2)
    torch.testing.assert_close(bias[0, :, 0], torch.tensor([[0.5, -100.0], [0.5 * math.e, -100.0]]))


def test_padding_of_different_counts():
    padded = pad_masks([torch.ones(1, 2, 3), torch.ones(3, 2, 3), torch.ones(0, 2, 3)])
    assert padded.shape == (3, 3, 6)
    assert padded.sum(dim=(1, 2)).tolist() == [6.0, 18.0, 0.0]
