"""The mask-guided ViT: plain CLIP for pictures, the naive formulation for masks, and no result depends on the batch."""

from __future__ import annotations

import pytest
import torch

from benchmarks.naive import OneAttention
from checks.tiny_clip import TINY_CLIP, register_model
from maskclippp.config import default_config
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder
from tests.common import random_image, rectangle_masks, tiny_transform, tiny_vit

SIZES = [(64, 64), (48, 80), (64, 64), (70, 33)]
COUNTS = [3, 2, 0, 4]


@pytest.fixture(scope="module")
def inputs():
    images = [random_image(*size, seed=index) for index, size in enumerate(SIZES)]
    # Soft masks: with equal values inside, the softmax would not notice the scale of the bias.
    masks = [
        rectangle_masks(count, *size, seed=count) * torch.linspace(0.5, 1.0, size[1])
        for count, size in zip(COUNTS, SIZES, strict=True)
    ]
    return images, masks


def test_image_embedding_is_plain_clip(inputs):
    encoder = tiny_vit(out_features=["i_embs"])
    images = inputs[0][:1]
    (batch,) = encoder.transform(images)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(images).features["i_embs"][0], encoder.proxy(batch.pixels)[0], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("beginning", [1, 2, 4])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.6])
def test_mask_tokens_equal_the_naive_formulation(inputs, beginning, threshold):
    options = {"mask_prior_beg": beginning, "mask_threshold": threshold, "finetune_type": "attention"}
    ours, naive = tiny_vit(**options), tiny_vit(OneAttention, **options)
    embeddings, gradients = [], []
    for encoder in (ours, naive):
        output = encoder(*inputs)
        embeddings.append(torch.cat(output.mask_embeddings))
        embeddings[-1].square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*embeddings, rtol=0, atol=2e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[1].items():
        assert gradients[0][name] is not None, f"no gradient reaches {name}"
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-3, atol=1e-3)


def test_batch_equals_one_by_one(inputs):
    encoder = tiny_vit(out_features=["m_embs", "block2", "p_embs", "i_embs"])
    with torch.no_grad():
        together = encoder(*inputs)
        for index, (image, masks) in enumerate(zip(*inputs, strict=True)):
            alone = encoder([image], [masks])
            torch.testing.assert_close(together.mask_embeddings[index], alone.mask_embeddings[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(together.areas[index], alone.areas[0])
            for name in ("block2", "p_embs", "i_embs"):
                torch.testing.assert_close(together.features[name][index], alone.features[name][0], rtol=0, atol=2e-5)
    assert [len(masks) for masks in together.mask_embeddings] == COUNTS


def test_masks_do_not_know_their_order_or_each_other(inputs):
    encoder = tiny_vit()
    image, masks = inputs[0][0], inputs[1][0]
    with torch.no_grad():
        (embeddings,) = encoder([image], [masks]).mask_embeddings
        (permuted,) = encoder([image], [masks[[2, 0, 1]]]).mask_embeddings
        (single,) = encoder([image], [masks[1:2]]).mask_embeddings
    torch.testing.assert_close(permuted, embeddings[[2, 0, 1]], rtol=0, atol=1e-5)
    torch.testing.assert_close(single, embeddings[1:2], rtol=0, atol=1e-5)


def test_no_masks_at_all(inputs):
    encoder = tiny_vit(out_features=["i_embs"])
    with torch.no_grad():
        output = encoder(inputs[0], [masks[:0] for masks in inputs[1]])
        assert encoder(inputs[0]).mask_embeddings is None
    assert [tuple(masks.shape) for masks in output.mask_embeddings] == [(0, 32)] * 4
    assert [tuple(areas.shape) for areas in output.areas] == [(0,)] * 4


def test_a_mask_that_vanishes_sees_all_patches_evenly(inputs):
    """All biases are -100, so the empty mask is like a plain class token that looks at patches only."""
    encoder = tiny_vit(mask_threshold=0.5)
    speck = torch.zeros(1, 64, 64)
    speck[0, 0, 0] = 1.0  # not one of the pixels that bilinear interpolation looks at
    with torch.no_grad():
        empty = encoder(inputs[0][:1], [torch.zeros(1, 64, 64)])
        vanished = encoder(inputs[0][:1], [speck])
    assert float(vanished.areas[0]) == 0.0
    torch.testing.assert_close(empty.mask_embeddings[0], vanished.mask_embeddings[0])
    assert torch.isfinite(empty.mask_embeddings[0]).all()


def test_patches_outside_the_mask_do_not_matter():
    """With mask tokens in the last block only, pixels outside the mask reach it through image tokens alone."""
    encoder = tiny_vit(mask_prior_beg=1)
    with torch.no_grad():
        for block in encoder.tower.blocks:  # cut what image tokens learn from each other
            block.attn.out_proj.weight.zero_()
        encoder.tower.blocks[-1].attn.out_proj.weight.normal_(generator=torch.Generator().manual_seed(0))
        mask = torch.zeros(1, 64, 64)
        mask[:, :16, :16] = 1.0
        image = random_image(64, 64)
        changed = image.clone()
        changed[:, 16:, 16:] = 0
        inside_changed = image.clone()
        inside_changed[:, :16, :16] = 0
        outputs = [encoder([x], [mask]).mask_embeddings[0] for x in (image, changed, inside_changed)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-5)
    assert (outputs[0] - outputs[2]).abs().max() > 1e-3


def test_row_zero_of_the_scale_is_the_last_block(inputs):
    encoder = tiny_vit(mask_prior_beg=3)
    assert encoder.policy.mask_logit_scale.shape == (2, 4)
    image, masks = inputs[0][:1], inputs[1][:1]
    with torch.no_grad():
        before = encoder(image, masks).mask_embeddings[0]
        encoder.tower.blocks[3].attn.out_proj.weight.zero_()  # the last block's attention no longer matters
        changed = encoder(image, masks).mask_embeddings[0]
        encoder.policy.mask_logit_scale[0] += 1.0
        torch.testing.assert_close(encoder(image, masks).mask_embeddings[0], changed)
        encoder.policy.mask_logit_scale[1] += 1.0
        assert (encoder(image, masks).mask_embeddings[0] - changed).abs().max() > 1e-4
    assert (before - changed).abs().max() > 1e-4


def test_state_dict_has_the_published_names():
    names = set(tiny_vit().state_dict())
    assert {
        "mask_logit_scale",
        "proxy.positional_embedding",
        "proxy.transformer.resblocks.3.attn.in_proj_weight",
    } <= names
    assert "mask_logit_scale" not in tiny_vit(learnable_mask_logit_scale=False).state_dict()


@pytest.mark.parametrize(
    ("finetune_type", "trains", "frozen"),
    [
        ("none", [], ["proxy.proj", "proxy.positional_embedding"]),
        ("all", ["proxy.proj", "proxy.conv1.weight", "proxy.transformer.resblocks.3.mlp.c_fc.weight"], []),
        (
            "attention",
            [
                "proxy.positional_embedding",
                "proxy.transformer.resblocks.0.attn.in_proj_weight",
                "proxy.transformer.resblocks.3.attn.in_proj_bias",
            ],
            ["proxy.proj", "proxy.transformer.resblocks.0.attn.out_proj.weight", "proxy.class_embedding"],
        ),
        (
            "before_proj",
            ["proxy.conv1.weight", "proxy.transformer.resblocks.2.mlp.c_fc.weight"],
            ["proxy.proj", "proxy.ln_post.weight", "proxy.transformer.resblocks.3.mlp.c_fc.weight"],
        ),
    ],
)
def test_finetune_types(finetune_type, trains, frozen):
    required = {name: p.requires_grad for name, p in tiny_vit(finetune_type=finetune_type).named_parameters()}
    assert all(required[name] for name in trains) and not any(required[name] for name in frozen)
    assert required["policy.mask_logit_scale"]
    if finetune_type == "attention":
        # The published rule goes by parts of names, so that "pos" means ln_post as well.
        assert sum(required.values()) == 1 + 1 + 2 + 2 * 4


def test_a_frozen_encoder_keeps_its_test_size_in_training():
    transforms = {"train_transform": tiny_transform(), "test_transform": tiny_transform(resize_type="square", size=32)}
    assert tiny_vit(**transforms).train().transform is transforms["test_transform"]
    tuned = tiny_vit(finetune_type="attention", **transforms)
    assert tuned.train().transform is transforms["train_transform"]
    assert tuned.eval().transform is transforms["test_transform"]


def test_output_shapes_match_features():
    encoder = tiny_vit(out_features=["block1_f", "p_embs_f"], feature_suffix="_f")
    shapes = encoder.output_shape()
    with torch.no_grad():
        features = encoder([random_image(64, 48)]).features
    assert shapes["emb_f"].channels == 32
    assert features.keys() == {"block1_f", "p_embs_f"}
    for name, (feature,) in features.items():
        assert feature.shape == (shapes[name].channels, 64 // shapes[name].stride, 48 // shapes[name].stride)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_prior_beg": 5}, "MASK_PRIOR_BEG 5 is not a block of this encoder; valid are 1 to 4"),
        ({"mask_prior_beg": 0}, "MASK_PRIOR_BEG 0"),
        ({"downsample_method": "area"}, "DOWNSAMPLE_METHOD 'area' is none of bilinear"),
        ({"finetune_type": "attn"}, "FINETUNE_TYPE 'attn' of CLIPViT: valid are none, all, attention"),
        ({"out_features": ["block9"]}, "OUT_FEATURES 'block9' of CLIPViT: valid are m_embs"),
    ],
)
def test_messages(options, message):
    with pytest.raises(UserError, match=message):
        tiny_vit(**options)


def test_built_from_a_config():
    node = default_config().MODEL.MASKCLIPPP.VISUAL_ENCODER
    assert build_visual_encoder(node) is None
    node.NAME, node.MODEL_NAME, node.MASK_PRIOR_BEG = "CLIPViT", register_model(TINY_CLIP), 2
    node.TEST_RESIZE_TYPE, node.TEST_IMAGE_SIZE = "short", 48
    encoder = build_visual_encoder(node)
    assert encoder.test_transform.target_size(96, 192) == (48, 96)
    node.NAME = "CLIPVit"
    with pytest.raises(UserError, match="no visual encoder is called 'CLIPVit'; did you mean CLIPViT"):
        build_visual_encoder(node)
    node.NAME = "DummyVisualEncoder"
    dummy = build_visual_encoder(node)
    assert dummy([random_image(8, 8)]).features == {}
    assert dummy.transform.target_size(96, 192) == (48, 96)


def test_the_option_compiles_the_encoder(inputs, monkeypatch):
    compiled = []

    def compile_nothing(function, **options):
        compiled.append((function.__name__, options))
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    encoder = tiny_vit(compiled=True)
    assert compiled == [("encode", {"dynamic": True})]
    torch.testing.assert_close(encoder(*inputs).mask_embeddings, tiny_vit()(*inputs).mask_embeddings)


def test_load_from_takes_a_part_of_another_checkpoint(tmp_path):
    tower = tiny_vit(seed=5).proxy
    path = tmp_path / "large.pth"
    weights = {f"backbone.clip_model.visual.{key}": value for key, value in tower.state_dict().items()}
    torch.save({"model": weights | {"sem_seg_head.weight": torch.ones(2)}}, path)
    node = default_config().MODEL.MASKCLIPPP.VISUAL_ENCODER
    node.NAME, node.MODEL_NAME, node.MASK_PRIOR_BEG = "CLIPViT", register_model(TINY_CLIP), 2
    node.LOAD_FROM, node.LOAD_BEG_KEY = str(path), "backbone.clip_model.visual."
    loaded = build_visual_encoder(node).proxy.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in tower.state_dict().items())
