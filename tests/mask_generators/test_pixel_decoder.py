"""The pixel decoder against the textbook: per level a grid sample, a loop over points."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.mask_generators.pixel_decoder import DeformableAttention, PixelDecoder
from maskclippp.mask_generators.position_encoding import sine_positions
from tests.mask_generators.tiny import random_maps, scatter, tiny_head


def plain_attention(module: DeformableAttention, queries: Tensor, values: Tensor, shapes) -> Tensor:
    """Locations from the offsets point by point, samples by ``grid_sample``."""
    batch, count, channels = queries.shape
    heads, levels, points = module.num_heads, module.num_levels, module.num_points
    width = channels // heads
    offsets = module.sampling_offsets(queries).view(batch, count, heads, levels, points, 2)
    weights = module.attention_weights(queries).view(batch, count, heads, levels * points).softmax(-1)
    weights = weights.view(batch, count, heads, levels, points)
    projected = module.value_proj(values)
    reference = [((column + 0.5) / w, (row + 0.5) / h) for h, w in shapes for row in range(h) for column in range(w)]
    reference = torch.tensor(reference)  # (N, 2)
    result = torch.zeros(batch, count, heads, width)
    start = 0
    for level, (h, w) in enumerate(shapes):
        for head in range(heads):
            part = projected[:, start : start + h * w, head * width : (head + 1) * width]
            image = part.transpose(1, 2).reshape(batch, width, h, w)
            for point in range(points):
                place = reference + offsets[:, :, head, level, point] / torch.tensor([w, h])
                sample = F.grid_sample(image, 2 * place[:, :, None] - 1, align_corners=False)[..., 0]
                result[:, :, head] += weights[:, :, head, level, point, None] * sample.transpose(1, 2)
        start += h * w
    return module.output_proj(result.flatten(2))


def plain_decoder(module: PixelDecoder, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The whole pixel decoder, written down layer by layer."""
    maps = [project(level) for project, level in zip(module.input_proj, features[:0:-1], strict=True)]
    shapes = [tuple(level.shape[-2:]) for level in maps]
    x = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
    encodings = [
        sine_positions(*shape, x.shape[-1], x.device) + module.transformer.level_embed[number]
        for number, shape in enumerate(shapes)
    ]
    positions = torch.cat(encodings)
    for layer in module.transformer.encoder["layers"]:
        x = layer.norm1(x + plain_attention(layer.self_attn, x + positions, x, shapes))
        x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    levels, start = [], 0
    for h, w in shapes:
        levels.append(x[:, start : start + h * w].transpose(1, 2).reshape(len(x), -1, h, w))
        start += h * w
    lateral = module.adapter_1(features[0])
    y = lateral + F.interpolate(levels[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
    return module.mask_features(module.layer_1(y)), levels


@torch.no_grad()
def test_it_equals_the_plain_formulation():
    decoder = tiny_head().pixel_decoder
    features = random_maps(64, 96, batch=2)
    mask_features, levels = decoder(features)
    wanted_features, wanted_levels = plain_decoder(decoder, features)
    torch.testing.assert_close(mask_features, wanted_features, rtol=1e-4, atol=1e-5)
    for level, wanted in zip(levels, wanted_levels, strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_the_plain_formulation():
    torch.manual_seed(0)
    module = DeformableAttention(channels=8, num_heads=2, num_levels=2)
    scatter(module)
    shapes = ((2, 3), (4, 6))
    tokens = torch.randn(2, 30, 8)
    gradients = []
    for attend in (module, lambda *inputs: plain_attention(module, *inputs)):
        module.zero_grad()
        queries = tokens.clone().requires_grad_()
        attend(queries, tokens, shapes).square().sum().backward()
        gradients.append([queries.grad, *(parameter.grad.clone() for parameter in module.parameters())])
    for ours, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)


def test_it_begins_with_rays_and_equal_weights():
    module = DeformableAttention(channels=32, num_heads=8, num_levels=3)
    rays = module.sampling_offsets.bias.view(8, 3, 4, 2)
    for head in range(8):
        x, y = math.cos(2 * math.pi * head / 8), math.sin(2 * math.pi * head / 8)
        longest = max(abs(x), abs(y))
        for point in range(4):
            wanted = torch.tensor([x, y]) / longest * (point + 1)
            assert torch.allclose(rays[head, :, point], wanted.expand(3, 2), atol=1e-6)
    assert not module.sampling_offsets.weight.any()
    assert not module.attention_weights.weight.any() and not module.attention_weights.bias.any()


def test_it_stays_in_float32_under_autocast():
    decoder = tiny_head().pixel_decoder
    features = random_maps(32, 64)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = decoder([feature.bfloat16() for feature in features])
        assert mixed.dtype == torch.float32
        kept, _ = decoder(features)
    with torch.no_grad():
        assert torch.equal(kept, decoder(features)[0])


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    decoder = PixelDecoder(
        [6, 8, 10, 12], num_levels=3, channels=32, mask_channels=16, num_heads=2, num_layers=1, dropout=0.5
    )
    features = random_maps(32, 64)
    with torch.no_grad():
        assert not torch.equal(decoder(features)[0], decoder(features)[0])
        decoder.eval()
        assert torch.equal(decoder(features)[0], decoder(features)[0])


def test_other_numbers_of_levels():
    """Two maps are encoded; the two finer ones are added on the way up, the finest last."""
    decoder = PixelDecoder([6, 8, 10, 12], num_levels=2, channels=32, mask_channels=16, num_heads=2, num_layers=1)
    assert decoder.adapter_2.weight.shape[1] == 8 and decoder.adapter_1.weight.shape[1] == 6
    mask_features, levels = decoder(random_maps(32, 64))
    assert mask_features.shape == (1, 16, 8, 16)
    assert [tuple(level.shape[-2:]) for level in levels] == [(1, 2), (2, 4)]
    everything = PixelDecoder([10, 12], num_levels=2, channels=32, mask_channels=16, num_heads=2, num_layers=1)
    assert everything(random_maps(32, 64)[2:])[0].shape == (1, 16, 2, 4)
