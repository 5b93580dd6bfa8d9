"""Gradients of the two streams equal those of one attention with a full bias, in float64."""

from __future__ import annotations

import torch

from maskclippp.structures import ImageBatch
from maskclippp.testing.benchmark.naive import NaiveCLIPViT
from tests.common import rectangle_masks, tiny_vit


def test_float64_gradients_equal_the_naive_ones():
    pixels = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = [rectangle_masks(count, 64, 96, seed=count).double() for count in (4, 2)]
    batch = ImageBatch(pixels, masks, [(64, 96)] * 2, [0, 1])
    gradients = []
    for kind in (None, NaiveCLIPViT):
        encoder = tiny_vit(*([kind] if kind else []), finetune_type="all").double().train()
        torch.cat(encoder.encode(batch).mask_embeddings).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    ours, naive = gradients
    assert ours.keys() >= {name for name, gradient in naive.items() if gradient.abs().max() > 0}
    for name, gradient in naive.items():
        mine = ours.get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(mine, gradient, rtol=0, atol=1e-8 * float(1 + gradient.abs().max()))
