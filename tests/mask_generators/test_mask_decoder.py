"""The masked-attention decoder against the textbook: full masks, resized, repeated for torch's heads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskclippp.mask_generators.mask_decoder import Attention, MaskDecoder, Memory, pool_under_masks
from maskclippp.mask_generators.position_encoding import sine_positions
from maskclippp.structures import TextBank
from tests.mask_generators.tiny import TEXT_WIDTH, random_maps, random_text, tiny_head


def torch_attention(module: Attention) -> nn.MultiheadAttention:
    """The same attention, of torch."""
    twin = nn.MultiheadAttention(module.out_proj.in_features, module.num_heads, batch_first=True)
    twin.load_state_dict(module.state_dict())
    return twin.eval()


def plain_classes(decoder: MaskDecoder, normed: Tensor, masks: Tensor, features: Tensor, text: TextBank | None):
    """Class logits, image by image and mask by mask."""
    if text is None:
        return decoder.class_embed(normed)
    rows = []
    for image in range(len(normed)):
        for query in range(normed.shape[1]):
            inside = (masks[image, query] > 0).float()
            pooled = (features[image] * inside).sum(dim=(1, 2)) / (inside.sum() + 1e-8)
            vector = decoder.class_embed(decoder._mask_pooling_proj(pooled) + normed[image, query])
            products = decoder.logit_scale.exp().clamp(max=100) * F.normalize(vector, dim=0) @ text.embeddings[:, 0].T
            rows += [products[text.class_index == label].max() for label in range(text.num_classes)]
    return torch.stack(rows).view(len(normed), normed.shape[1], -1)


def plain_decode(decoder: MaskDecoder, levels: list[Tensor], features: Tensor, text: TextBank | None):
    """Return (class logits, mask logits) of every prediction."""

    def predict(x: Tensor) -> tuple[Tensor, Tensor]:
        normed = decoder.decoder_norm(x)
        masks = torch.einsum("bqc,bchw->bqhw", decoder.mask_embed(normed), features)
        return plain_classes(decoder, normed, masks, features, text), masks

    x = decoder.query_feat.weight.repeat(len(features), 1, 1)
    places = decoder.query_embed.weight.repeat(len(features), 1, 1)
    predictions = [predict(x)]
    parts = (
        decoder.transformer_cross_attention_layers,
        decoder.transformer_self_attention_layers,
        decoder.transformer_ffn_layers,
    )
    for number, (cross, exchange, think) in enumerate(zip(*parts, strict=True)):
        level = number % len(levels)
        size = levels[level].shape[-2:]
        memory = levels[level].flatten(2).transpose(1, 2) + decoder.level_embed.weight[level]
        positions = sine_positions(*size, memory.shape[-1], memory.device)
        masks = F.interpolate(predictions[-1][1], size=size, mode="bilinear", align_corners=False)
        blocked = (masks.sigmoid() < 0.5).flatten(2)
        blocked[blocked.all(dim=-1)] = False
        repeated = blocked.repeat_interleave(cross.multihead_attn.num_heads, dim=0)
        attend = torch_attention(cross.multihead_attn)
        x = cross.norm(x + attend(x + places, memory + positions, memory, attn_mask=repeated)[0])
        x = exchange.norm(x + torch_attention(exchange.self_attn)(x + places, x + places, x)[0])
        x = think.norm(x + think.linear2(think.linear1(x).relu()))
        predictions.append(predict(x))
    return predictions


@pytest.mark.parametrize("text", [None, random_text((2, 1, 3, 1))], ids=["closed", "open"])
@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_every_prediction_equals_the_plain_formulation(text: TextBank | None, seed: int):
    head = tiny_head(embed_dim=None if text is None else TEXT_WIDTH, seed=seed)
    mask_features, levels = head.pixel_decoder(random_maps(96, 64, batch=2, seed=seed))
    wanted = plain_decode(head.predictor, levels, mask_features, text)
    found = head.predictor(levels, mask_features, text, intermediate=True)
    assert len(found) == len(wanted) == 5
    for ours, (classes, masks) in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours.mask_logits, masks, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.class_logits, classes, rtol=1e-4, atol=1e-4)
    assert (found[-1].mask_logits > 0).float().mean() not in (0, 1)


@torch.no_grad()
def test_the_last_prediction_alone_is_the_same():
    head = tiny_head()
    maps = random_maps(64, 64)
    (alone,) = head(maps)
    last = head(maps, intermediate=True)[-1]
    assert torch.equal(alone.mask_embeddings, last.mask_embeddings)
    assert torch.equal(alone.class_logits, last.class_logits)


def test_a_query_with_an_empty_mask_looks_everywhere():
    memory = Memory(torch.zeros(1, 3, 2), torch.zeros(1, 3, 2), torch.tensor([[[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]]))
    allowed = memory.allowed(torch.tensor([[[-1.0, 0.0], [-1.0, -1.0], [1.0, 1.0]]]))
    assert allowed.tolist() == [[[False, True, False], [True, True, True], [True, True, True]]]


@torch.no_grad()
def test_queries_with_empty_masks_only():
    """Every row of every attention mask would be blocked, and nothing is pooled."""
    head, text = tiny_head(embed_dim=TEXT_WIDTH), random_text()
    last = head.predictor.mask_embed.layers[-1]
    last.weight.zero_()
    last.bias.fill_(-1.0)
    mask_features, levels = head.pixel_decoder(random_maps(64, 32))
    mask_features = mask_features.abs()
    found = head.predictor(levels, mask_features, text, intermediate=True)
    assert all(bool((prediction.mask_logits < 0).all()) for prediction in found)
    for ours, (classes, _) in zip(found, plain_decode(head.predictor, levels, mask_features, text), strict=True):
        torch.testing.assert_close(ours.class_logits, classes, rtol=1e-4, atol=1e-4)


def test_pooling_of_an_empty_mask_is_zero_and_gradients_go_through_the_features_only():
    features = torch.randn(1, 2, 2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    embeddings = torch.tensor([[[0.0, 0.0], [1.0, 0.5]]], requires_grad=True)  # the first mask is nowhere positive
    pooled = pool_under_masks(embeddings, features)
    assert pooled[0, 0].tolist() == [0.0, 0.0]
    pooled.sum().backward()
    assert embeddings.grad is None and features.grad.abs().sum() > 0


def test_masks_steer_the_attention_without_gradient():
    """What reaches the first layer's mask is a decision; the mask embedding learns from the masks it predicts."""
    head = tiny_head()
    predictions = head(random_maps(32, 64), intermediate=True)
    predictions[-1].class_logits.sum().backward()
    assert head.predictor.mask_embed.layers[0].weight.grad is None
    assert head.pixel_decoder.input_proj[0][0].weight.grad.abs().sum() > 0
    predictions = head(random_maps(32, 64), intermediate=True)
    sum(prediction.mask_logits.square().mean() for prediction in predictions).backward()
    assert head.predictor.mask_embed.layers[0].weight.grad.abs().sum() > 0


@torch.no_grad()
def test_it_runs_under_autocast():
    head = tiny_head(embed_dim=TEXT_WIDTH)
    maps, text = random_maps(64, 64), random_text()
    (exact,) = head(maps, text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (mixed,) = head(maps, text)
    assert mixed.mask_logits.dtype == torch.float32 and mixed.class_logits.dtype == torch.float32
    assert float((mixed.class_logits - exact.class_logits).abs().max()) < 2.0


def test_maps_of_another_width_are_projected():
    options = {
        "channels": 16, "mask_channels": 8, "num_queries": 3, "num_heads": 2, "ffn_width": 8, "num_layers": 2,
        "num_levels": 2,
    }  # fmt: skip
    same = MaskDecoder(in_channels=16, **options)
    assert not any(key.startswith("input_proj") for key in same.state_dict())
    assert len(MaskDecoder(in_channels=16, enforce_projection=True, **options).input_proj.state_dict()) == 4
    assert MaskDecoder(in_channels=12, **options).input_proj[1].weight.shape == (16, 12, 1, 1)
