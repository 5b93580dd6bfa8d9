"""One body for every encoder: batches, empty cases, features, gradients, checkpointing, messages."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import timm
import torch
from timm.models.convnext import convnext_atto
from timm.models.eva import eva02_tiny_patch14_224

from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import VisualEncoder
from maskclippp.visual_encoders.convnext import CLIPConvNeXt
from maskclippp.visual_encoders.mask_policies import SoftBias
from maskclippp.visual_encoders.pool_encoder import CLIPResNet
from maskclippp.visual_encoders.token_encoder import CLIPViT, EVACLIPViT
from maskclippp.visual_encoders.towers import EVATower, ResNetTower
from tests.common import random_image, rectangle_masks, soft_bias, tiny_transform, tiny_vit

SIZES, COUNTS = [(64, 96), (80, 64), (64, 96)], [3, 0, 5]


def options(**more: Any) -> dict[str, Any]:
    transform = tiny_transform(size_divisibility=32)
    return {"train_transform": transform, "test_transform": transform} | more


def eva(**more: Any) -> EVACLIPViT:
    module = eva02_tiny_patch14_224(
        img_size=64, patch_size=16, embed_dim=48, depth=3, num_heads=3, num_classes=24, global_pool="token",
        scale_mlp=True, scale_attn_inner=True, qkv_fused=more.pop("fused", False), use_post_norm=more.pop("post", False)
    )  # fmt: skip
    tower = EVATower(module)
    return EVACLIPViT(tower=tower, policy=soft_bias(tower, mask_prior_beg=2), **options(**more))


def convnext(**more: Any) -> CLIPConvNeXt:
    def convnext_for_tests(pretrained: bool = False, **settings: Any):
        return convnext_atto(pretrained, **{"depths": (1, 1, 2, 1), "dims": (8, 12, 16, 24), **settings})

    if not timm.is_model("convnext_for_tests"):
        timm.models.register_model(convnext_for_tests)
    vision = {"timm_model_name": "convnext_for_tests", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1}
    tower = open_clip.model.CustomTextCLIP(24, vision, text).visual
    return CLIPConvNeXt(tower=tower, **options(**({"mask_prior_beg": 5} | more)))


def resnet(**more: Any) -> CLIPResNet:
    tower = ResNetTower(open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], 24, 4, image_size=64, width=8))
    policy = SoftBias(num_heads=tower.num_heads, mask_logit_scale=0.5, learnable_mask_logit_scale=True)
    return CLIPResNet(tower=tower, policy=policy, **options(**more))


ENCODERS = {
    "CLIPViT": lambda **more: tiny_vit(
        CLIPViT, **({"train_transform": tiny_transform(), "test_transform": tiny_transform()} | options() | more)
    ),
    "EVACLIPViT": eva,
    "EVACLIPViT, fused": lambda **more: eva(fused=True, **more),
    "EVACLIPViT, post-norm": lambda **more: eva(post=True, **more),
    "CLIPConvNeXt": convnext,
    "CLIPConvNeXt from stage 1": lambda **more: convnext(mask_prior_beg=1, **more),
    "CLIPConvNeXt from stage 3": lambda **more: convnext(mask_prior_beg=3, **more),
    "CLIPResNet": resnet,
}


@pytest.fixture(params=ENCODERS)
def build(request: pytest.FixtureRequest):
    def make(**more: Any) -> VisualEncoder:
        torch.manual_seed(0)
        return ENCODERS[request.param](**more).eval()

    return make


@pytest.fixture
def inputs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    images = [random_image(*size, seed=i) for i, size in enumerate(SIZES)]
    return images, [
        rectangle_masks(count, *size, seed=i) for i, (count, size) in enumerate(zip(COUNTS, SIZES, strict=True))
    ]


@torch.no_grad()
def test_batch_equals_one_by_one(build, inputs):
    encoder = build(out_features=("m_embs", "p_embs", "i_embs"))
    together = encoder(*inputs)
    assert [len(masks) for masks in together.mask_embeddings] == COUNTS
    assert [len(areas) for areas in together.areas] == COUNTS
    for index, (image, masks) in enumerate(zip(*inputs, strict=True)):
        alone = encoder([image], [masks])
        torch.testing.assert_close(together.mask_embeddings[index], alone.mask_embeddings[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.areas[index], alone.areas[0])
        for name in ("p_embs", "i_embs"):
            torch.testing.assert_close(together.features[name][index], alone.features[name][0], rtol=1e-4, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("divisibility", [32, 0])
def test_areas_are_known_without_the_pictures(build, divisibility):
    transform = tiny_transform(size_divisibility=divisibility)
    encoder = build(train_transform=transform, test_transform=transform)
    sizes, counts = [(65, 97), (79, 64), (95, 127), (64, 96)], [3, 0, 2, 4]
    images = [random_image(*size, seed=i) for i, size in enumerate(sizes)]
    masks = [rectangle_masks(count, *size, seed=i) for i, (count, size) in enumerate(zip(counts, sizes, strict=True))]
    for found, expected in zip(encoder.mask_areas(images, masks), encoder(images, masks).areas, strict=True):
        assert torch.equal(found, expected)


@torch.no_grad()
def test_only_images_without_masks(build, inputs):
    images, _ = inputs
    output = build()(images, [torch.zeros(0, *size) for size in SIZES])
    assert [tuple(masks.shape) for masks in output.mask_embeddings] == [(0, output.mask_embeddings[0].shape[1])] * 3


@torch.no_grad()
def test_a_mask_that_vanishes_has_no_area_and_a_finite_embedding(build):
    masks = torch.zeros(2, 64, 96)
    masks[1, 10:40, 10:40] = 1
    output = build()([random_image(64, 96)], [masks])
    assert output.areas[0][0] == 0 and output.areas[0][1] > 0
    assert torch.isfinite(output.mask_embeddings[0]).all()


@torch.no_grad()
def test_shapes_are_those_announced(build):
    encoder = build(out_features=("m_embs", "p_embs"), feature_suffix="_f")
    output = encoder([random_image(64, 96)], [torch.ones(1, 64, 96)])
    shapes = encoder.output_shape()
    assert output.mask_embeddings[0].shape[1] == shapes["emb_f"].channels
    dense = output.features["p_embs_f"][0]
    assert dense.shape[0] == shapes["p_embs_f"].channels
    assert dense.shape[1:] == (64 // shapes["p_embs_f"].stride, 96 // shapes["p_embs_f"].stride)


def test_checkpointing_changes_no_gradient(build, inputs):
    gradients = []
    for on in (False, True):
        kind = "all_but_bn" if isinstance(build(), CLIPResNet) else "all"
        encoder = build(grad_checkpointing=on, finetune_type=kind).train()
        torch.cat(encoder(*inputs).mask_embeddings).square().sum().backward()
        gradients.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6 * float(gradient.abs().max() + 1))


@torch.no_grad()
def test_saved_and_loaded_tensors_are_equal(build, inputs):
    first, second = build(), build()
    for parameter in second.parameters():
        parameter.add_(1.0)
    state = first.state_dict()
    assert not second.load_state_dict({name: tensor.clone() for name, tensor in state.items()}).missing_keys
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_an_image_smaller_than_the_stride_is_refused():
    encoder = tiny_vit(test_transform=tiny_transform(), train_transform=tiny_transform())
    with pytest.raises(UserError, match="image 0 is 12x40 when it reaches CLIPViT, which needs 16 pixels a side"):
        encoder([random_image(12, 40)], [torch.zeros(0, 12, 40)])


def test_masks_must_belong_to_the_images():
    encoder = tiny_vit()
    with pytest.raises(UserError, match="2 images but 1 tensors of masks"):
        encoder([random_image(32, 32)] * 2, [torch.zeros(0, 32, 32)])
    with pytest.raises(UserError, match=r"image 0 has shape \(3, 32, 32\) and masks \(32, 32\)"):
        encoder([random_image(32, 32)], [torch.zeros(32, 32)])


def test_embeddings_after_single_blocks():
    image, masks = [random_image(64, 64)], [rectangle_masks(2, 64, 64)]
    encoder = eva(out_features=("m_embs", "m_embs-2", "m_embs-3")).eval()
    with torch.no_grad():
        output = encoder(image, masks)
    torch.testing.assert_close(output.features["m_embs-3"][0], output.mask_embeddings[0])
    assert not torch.equal(output.features["m_embs-2"][0], output.mask_embeddings[0])
    with pytest.raises(UserError, match=r"blocks 2 \(MASK_PRIOR_BEG\) to 3 only"):
        eva(out_features=("m_embs-1",))


def test_eva_saves_published_names_and_trains_as_published():
    encoder = eva(finetune_type="attention")
    names = {name.split("blocks.0.")[-1] for name in encoder.state_dict() if "blocks.0." in name}
    assert {"attn.q_bias", "attn.v_bias", "attn.inner_attn_ln.weight", "mlp.w1.weight", "mlp.w3.bias"} <= names
    assert not {"attn.q_proj.bias", "attn.norm.weight", "mlp.fc2.weight"} & names
    trains = {
        name.split("blocks.0.")[-1] for name, p in encoder.named_parameters() if p.requires_grad and "blocks.0" in name
    }
    assert trains == {"attn.q_proj.weight", "attn.v_proj.weight"}


def test_batch_norms_that_do_not_train_keep_their_statistics():
    encoder = resnet(finetune_type="all_but_bn").train()
    before = encoder.proxy.bn1.running_mean.clone()
    encoder([random_image(64, 64)], [torch.ones(1, 64, 64)])
    assert torch.equal(encoder.proxy.bn1.running_mean, before)
    with pytest.raises(UserError, match="all_but_bn"):
        resnet(finetune_type="all", grad_checkpointing=True)
