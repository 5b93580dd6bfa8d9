"""Gradients of the two streams equal those of one attention with a full bias in float64; frozen parts keep none."""

from __future__ import annotations

import pytest
import torch
from timm.models.eva import eva02_tiny_patch14_224

from benchmarks.naive import OneAttention
from maskclippp.structures import ImageBatch
from maskclippp.visual_encoders.token_encoder import TokenEncoder
from maskclippp.visual_encoders.towers import EVATower
from tests.common import rectangle_masks, soft_bias, tiny_transform, tiny_vit


def tiny_eva(encoder_class: type[TokenEncoder], **options) -> TokenEncoder:
    torch.manual_seed(0)
    module = eva02_tiny_patch14_224(
        img_size=64, patch_size=16, embed_dim=48, depth=3, num_heads=3, num_classes=24, global_pool="token",
        qkv_fused=False, scale_mlp=True, scale_attn_inner=True,
    )  # fmt: skip
    transform = tiny_transform(size_divisibility=16)
    tower = EVATower(module)
    policy = soft_bias(tower, mask_prior_beg=2)
    return encoder_class(tower=tower, policy=policy, train_transform=transform, test_transform=transform, **options)


def batch_of_two() -> ImageBatch:
    pixels = torch.randn(2, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = [rectangle_masks(count, 64, 96, seed=count).double() for count in (4, 2)]
    return ImageBatch(pixels, masks, [(64, 96)] * 2, [0, 1])


@pytest.mark.parametrize("build", [tiny_vit, tiny_eva])
def test_float64_gradients_equal_the_naive_ones(build):
    gradients = []
    for kind in (TokenEncoder, OneAttention):
        encoder = build(kind, finetune_type="all").double().train()
        torch.cat(encoder.encode(batch_of_two()).mask_embeddings).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    mine, reference = gradients
    assert mine.keys() >= {name for name, gradient in reference.items() if gradient.abs().max() > 0}
    for name, gradient in reference.items():
        own = mine.get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(own, gradient, rtol=0, atol=1e-8 * float(1 + gradient.abs().max()))


def test_what_precedes_the_first_trained_parameter_keeps_no_graph():
    encoder = tiny_vit(finetune_type="none").train()
    inputs = []
    for block in encoder.tower.blocks:
        block.ln_1.register_forward_hook(lambda module, arguments, result: inputs.append(result.requires_grad))
    pixels = batch_of_two().pixels.float()
    masks = [picture.dense().float() for picture in batch_of_two().masks]
    encoder.encode(ImageBatch(pixels, masks, [(64, 96)] * 2, [0, 1]))
    # Blocks 1 and 2 have no masks; in block 3 and 4 the image tokens stay without graph, and block 3 begins the masks'.
    assert inputs == [False, False, False, False, False, True]
