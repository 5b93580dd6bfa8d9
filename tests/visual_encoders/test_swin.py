"""Swin against its definition, timm where both agree, published key lists; the frozen encoder around it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from detectron2.modeling import build_backbone
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import without_weights
from maskclippp.visual_encoders import build_visual_encoder
from maskclippp.visual_encoders.swin import STAGES, SwinTransformer
from maskclippp.visual_encoders.window_attention import WindowAttention
from tests.common import random_image

TINY: dict[str, Any] = {"embed_dim": 8, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 2, 4], "window_size": 4}


def tiny_swin(**options: Any) -> SwinTransformer:
    torch.manual_seed(0)
    swin = SwinTransformer(**(TINY | {"drop_path_rate": 0.0} | options)).double()
    with torch.no_grad():
        for parameter in swin.parameters():
            parameter.normal_(std=0.3)
    return swin


def naive_attention(attention: WindowAttention, x: Tensor) -> Tensor:
    """The published definition, token by token: pad, roll, and look at every pair."""
    _, height, width, dim = x.shape
    side, shift, heads = attention.window, attention.shift, attention.num_heads
    padded_height, padded_width = -(-height // side) * side, -(-width // side) * side
    padded = torch.zeros(len(x), padded_height, padded_width, dim, dtype=x.dtype)
    padded[:, :height, :width] = x
    query, key, value = attention.qkv(padded.roll((-shift, -shift), (1, 2))).split(dim, dim=-1)

    def region(place: int, length: int) -> int:
        return 0 if not shift or place < length - side else 1 if place < length - shift else 2

    out = torch.zeros_like(padded)
    places = [(row, column) for row in range(padded_height) for column in range(padded_width)]
    for row, column in places:
        mates = [(r, c) for r, c in places if (r // side, c // side) == (row // side, column // side)]
        here = region(row, padded_height), region(column, padded_width)
        for head in range(heads):
            part = slice(head * dim // heads, (head + 1) * dim // heads)
            scores = []
            for r, c in mates:
                score = (query[:, row, column, part] * key[:, r, c, part]).sum(-1) * (dim // heads) ** -0.5
                index = (row - r + side - 1) * (2 * side - 1) + column - c + side - 1
                other = (region(r, padded_height), region(c, padded_width)) != here
                scores.append(score + attention.relative_position_bias_table[index, head] - 100.0 * other)
            weights = torch.stack(scores, dim=-1).softmax(-1)
            values = torch.stack([value[:, r, c, part] for r, c in mates], dim=1)
            out[:, row, column, part] = (weights[..., None] * values).sum(1)
    return attention.proj(out.roll((shift, shift), (1, 2))[:, :height, :width])


@pytest.mark.parametrize(("height", "width"), [(7, 5), (4, 8), (2, 3), (6, 9)])
@pytest.mark.parametrize("shift", [0, 2])
def test_window_attention_is_its_definition_for_any_size_and_its_gradients_too(height, width, shift):
    torch.manual_seed(0)
    attention = WindowAttention(4, num_heads=2, window=4, shift=shift).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_()
    x = torch.randn(2, height, width, 4, dtype=torch.double)
    results = []
    for forward in (attention, lambda tokens: naive_attention(attention, tokens)):
        attention.zero_grad()
        tokens = x.clone().requires_grad_()
        out = forward(tokens)
        out.square().sum().backward()
        table = attention.relative_position_bias_table.grad.clone()
        results.append((out, tokens.grad, table, attention.qkv.weight.grad.clone()))
    for ours, naive in zip(*results, strict=True):
        torch.testing.assert_close(ours, naive)


def test_equals_timm_where_windows_fit_and_nothing_is_clamped():
    ours = tiny_swin().eval()
    theirs = timm.models.swin_transformer.SwinTransformer(
        img_size=(256, 128), embed_dim=8, depths=(2, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=4, num_classes=0
    )
    ours.layers[3].blocks = ours.layers[3].blocks[:1]  # an 8 x 4 map of timm has no shift
    names = {f"layers.{i}.downsample.": f"layers.{i + 1}.downsample." for i in range(3)}
    weights = {}
    for key, tensor in ours.state_dict().items():
        own = next((prefix for prefix in names if key.startswith(prefix)), "")
        weights[names.get(own, "") + key.removeprefix(own)] = tensor
    missing = theirs.load_state_dict(weights, strict=False).missing_keys
    assert set(missing) == {"norm.weight", "norm.bias"}
    theirs = theirs.double().eval()
    pixels = torch.randn(1, 3, 256, 128, dtype=torch.double)
    with torch.no_grad():
        found, x = ours(pixels), theirs.patch_embed(pixels)
        for stage, name in enumerate(STAGES):
            x = theirs.layers[stage](x)
            norm = getattr(ours, f"norm{stage}")
            torch.testing.assert_close(found[name], norm(x).permute(0, 3, 1, 2))


@torch.no_grad()
def test_any_size_and_announced_shapes():
    swin = tiny_swin(out_features=["res3", "res5"]).eval()
    features = swin(torch.randn(2, 3, 45, 70, dtype=torch.double))
    assert {name: tuple(f.shape) for name, f in features.items()} == {"res3": (2, 16, 6, 9), "res5": (2, 64, 2, 3)}
    assert {name: (s.channels, s.stride) for name, s in swin.output_shape().items()} == {
        "res3": (16, 8),
        "res5": (64, 32),
    }


def test_a_frozen_bias_is_gathered_once_and_again_when_the_table_changes():
    swin = tiny_swin().eval().requires_grad_(False)
    attention, pixels = swin.layers[0].blocks[1].attn, torch.randn(1, 3, 32, 32, dtype=torch.double)
    assert attention.bias() is attention.bias()
    other = tiny_swin().eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    before = swin(pixels)["res5"]
    swin.load_state_dict(other.state_dict())
    torch.testing.assert_close(swin(pixels)["res5"], other(pixels)["res5"])
    assert not torch.allclose(before, swin(pixels)["res5"])
    assert swin.float().layers[0].blocks[1].attn.bias().dtype == torch.float32
    table = attention.relative_position_bias_table.requires_grad_(True)
    attention.bias().sum().backward()
    assert table.grad.sum() == attention.window**4 * attention.num_heads


def test_checkpointing_drop_path_and_position_embedding():
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.double)
    gradients = []
    for on in (False, True):
        swin = tiny_swin(absolute_position=True, pretrain_img_size=32, grad_checkpointing=on, drop_path_rate=0.5)
        torch.manual_seed(3)
        swin.train()(pixels)["res5"].square().sum().backward()
        gradients.append({name: p.grad for name, p in swin.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and "absolute_pos_embed" in gradients[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    assert tuple(swin.absolute_pos_embed.shape) == (1, 8, 8, 8)
    assert [block.drop_path.drop_prob for block in swin.layers[3].blocks] == pytest.approx([0.5 * 6 / 7, 0.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [2, 2]}, r"DEPTHS \[2, 2\] and NUM_HEADS \[1, 2, 2, 4\] need 4 numbers"),
        ({"num_heads": [3, 2, 2, 4]}, "3 heads of NUM_HEADS do not divide 8 channels"),
        ({"out_features": ["res6"]}, "OUT_FEATURES 'res6': valid are res2, res3, res4, res5"),
    ],
)
def test_messages(options, message):
    with pytest.raises(UserError, match=message):
        tiny_swin(**options)


SIZES = {
    "swin-t": {"EMBED_DIM": 96, "DEPTHS": [2, 2, 6, 2], "NUM_HEADS": [3, 6, 12, 24], "WINDOW_SIZE": 7},
    "swin-l": {"EMBED_DIM": 192, "DEPTHS": [2, 2, 18, 2], "NUM_HEADS": [6, 12, 24, 48], "WINDOW_SIZE": 12},
}


def meta_swin(size: str) -> SwinTransformer:
    cfg = default_config()
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    for key, value in SIZES[size].items():
        cfg.MODEL.SWIN[key] = value
    with torch.device("meta"):
        return build_backbone(cfg)


@pytest.mark.parametrize(("size", "count"), [("swin-t", 27520698), ("swin-l", 195201204)])
def test_numbers_of_parameters(size, count):
    assert sum(parameter.numel() for parameter in meta_swin(size).parameters()) == count


@pytest.mark.parametrize("size", SIZES)
def test_published_key_list(size, published_keys):
    expected = published_keys(f"mask2former_{size}", "backbone.")
    assert {key: tuple(tensor.shape) for key, tensor in meta_swin(size).state_dict().items()} == expected


def tiny_config(**encoder: Any) -> Any:
    cfg = default_config()
    for key, value in TINY.items():
        cfg.MODEL.SWIN[key.upper()] = value
    node = cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F
    node.NAME, node.SIZE_DIVISIBILITY = "D2SwinTransformer", 32
    for key, value in encoder.items():
        node[key] = value
    return cfg


def build(**encoder: Any) -> Any:
    torch.manual_seed(0)
    cfg = tiny_config(**encoder)
    return build_visual_encoder(cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F, cfg)


@torch.no_grad()
def test_frozen_encoder_treats_each_picture_as_if_alone():
    encoder = build(OUT_FEATURES=["res3_f", "res5_f"])
    images = [random_image(*size, seed=i) for i, size in enumerate([(64, 96), (70, 40), (64, 96), (30, 33)])]
    together = encoder(images)
    assert together.mask_embeddings is None and list(together.features) == ["res3_f", "res5_f"]
    for index, image in enumerate(images):
        alone = encoder([image])
        for name, shape in encoder.output_shape().items():
            torch.testing.assert_close(together.features[name][index], alone.features[name][0], rtol=1e-5, atol=1e-5)
            assert alone.features[name][0].shape[0] == shape.channels
    assert together.features["res3_f"][1].shape[1:] == (96 // 8, 64 // 8)


def test_frozen_encoder_does_not_train():
    encoder = build()
    assert list(encoder.output_shape()) == ["res2_f", "res3_f", "res4_f", "res5_f"]
    assert encoder.train() is encoder and encoder.eval() is encoder and encoder.proxy.train() is encoder.proxy
    assert not encoder.train().proxy.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    with pytest.raises(UserError, match="OUT_FEATURES 'stage1_f' of D2SwinTransformer: its backbone gives res2, res3"):
        build(OUT_FEATURES=["stage1_f"])


def test_weights_of_a_generator_file_and_of_an_imagenet_classifier(tmp_path):
    source = tiny_swin().float().state_dict()
    generator = {f"backbone.{key}": tensor.numpy() for key, tensor in source.items()}
    path = tmp_path / "generator.pkl"
    head = {"sem_seg_head.predictor.query_feat.weight": np.ones(2)}
    path.write_bytes(pickle.dumps({"model": generator | head, "__author__": "a name"}))
    loaded = build(PRETRAINED=str(path)).proxy.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in source.items())
    classifier = {key: tensor for key, tensor in source.items() if not key.startswith("norm")}
    more = {"head.weight": torch.ones(2), "norm.bias": torch.ones(2), "layers.0.blocks.1.attn_mask": torch.ones(2)}
    path = tmp_path / "imagenet.pth"
    torch.save({"model": classifier | more}, path)
    loaded = build(PRETRAINED=str(path)).proxy.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in classifier.items())
    assert torch.equal(loaded["norm3.weight"], torch.ones(64))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"embed_dim": 16}, r"patch_embed.proj.weight: \(16, 3, 4, 4\) in the file, \(8, 3, 4, 4\) in the model"),
        ({"window_size": 5}, r"attn.relative_position_bias_table: \(81, 1\) in the file, \(49, 1\) in the model"),
        ({"depths": [2, 2, 1, 2]}, "layers.2.blocks.1.norm1.weight is not in the file"),
        ({"depths": [2, 2, 4, 2]}, "layers.2.blocks.2.norm1.weight of the file is not in the model"),
    ],
)
def test_a_file_of_another_size_is_refused(tmp_path, change, problem):
    path = tmp_path / "other.pth"
    torch.save({f"backbone.{key}": tensor for key, tensor in tiny_swin(**change).state_dict().items()}, path)
    with pytest.raises(UserError, match=f"another size or family than MODEL.SWIN says: .*{problem}") as error:
        build(PRETRAINED=str(path))
    assert "\n" not in str(error.value)
    with without_weights():
        build(PRETRAINED=str(path))


def test_a_known_file_is_fetched_before_it_is_read(tmp_path, monkeypatch):
    asked = []

    def ensure(path):
        asked.append(path)
        file = tmp_path / "fetched.pth"
        torch.save({f"backbone.{key}": tensor for key, tensor in tiny_swin().state_dict().items()}, file)
        return file

    monkeypatch.setattr("maskclippp.utils.checkpoint_io.ensure_weights", ensure)
    build(PRETRAINED="maskformer2_swin_tiny_bs16_50ep_final_9fd0ae.pkl")
    assert asked == ["maskformer2_swin_tiny_bs16_50ep_final_9fd0ae.pkl"]


def test_the_last_patches_of_a_picture_are_filled_with_zeros():
    swin = tiny_swin().eval()
    pixels = torch.randn(1, 3, 30, 30, dtype=torch.double)
    with torch.no_grad():
        patches = swin(pixels)["res2"], swin(F.pad(pixels, (0, 2, 0, 2)))["res2"]
    torch.testing.assert_close(*patches)
