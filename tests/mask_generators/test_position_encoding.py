"""The sine encoding against its formula, number by number."""

from __future__ import annotations

import math

import pytest
import torch

from maskclippp.mask_generators.position_encoding import sine_positions

CPU = torch.device("cpu")


def test_every_number_is_the_formulas():
    height, width, channels = 3, 5, 16
    table = sine_positions(height, width, channels, CPU).unflatten(0, (height, width))
    half = channels // 2
    for row in range(height):
        for column in range(width):
            for k in range(half):
                period = 10000 ** (2 * (k // 2) / half)
                wave = math.sin if k % 2 == 0 else math.cos
                y = 2 * math.pi * (row + 1) / (height + 1e-6)
                x = 2 * math.pi * (column + 1) / (width + 1e-6)
                assert float(table[row, column, k]) == pytest.approx(wave(y / period), abs=1e-6)
                assert float(table[row, column, half + k]) == pytest.approx(wave(x / period), abs=1e-6)


def test_it_is_made_once_and_can_be_trained_with_after_inference():
    with torch.inference_mode():
        first = sine_positions(2, 7, 8, CPU)
    assert sine_positions(2, 7, 8, CPU) is first
    weight = torch.ones(8, requires_grad=True)
    (first * weight).sum().backward()
    assert torch.allclose(weight.grad, first.sum(dim=0))
