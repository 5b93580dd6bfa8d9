"""Attention-pooled towers: the image embedding is the tower's own, masks guide the pooling query."""

from __future__ import annotations

import pytest
import torch
from open_clip.timm_model import TimmModel
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders.mask_policies import SoftBias
from maskclippp.visual_encoders.pool_encoder import CLIPPooledViT
from maskclippp.visual_encoders.towers import LatentPoolTower
from tests.common import random_image, rectangle_masks, tiny_transform, tiny_vit


class SmallTower(TimmModel):
    """As open_clip wraps SigLIP, but small."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.trunk = VisionTransformer(
            img_size=64, patch_size=16, embed_dim=48, depth=2, num_heads=3, num_classes=0, class_token=False,
            global_pool="map",
        )  # fmt: skip
        self.head = nn.Sequential()


def build(**options) -> CLIPPooledViT:
    torch.manual_seed(0)
    transform = tiny_transform(size_divisibility=16)
    tower = LatentPoolTower(SmallTower())
    policy = SoftBias(num_heads=tower.num_heads, mask_logit_scale=1.0, learnable_mask_logit_scale=True)
    encoder = CLIPPooledViT(tower=tower, policy=policy, train_transform=transform, test_transform=transform, **options)
    return encoder.eval()


@torch.no_grad()
def test_image_embedding_is_the_towers_own():
    encoder = build(out_features=("m_embs", "i_embs"))
    pixels = encoder.transform([random_image(64, 64)])[0].pixels
    embedding = encoder([random_image(64, 64)]).features["i_embs"][0]
    torch.testing.assert_close(embedding, encoder.proxy(pixels)[0])


@torch.no_grad()
def test_an_empty_mask_is_the_whole_picture():
    encoder = build(out_features=("m_embs", "i_embs"))
    output = encoder([random_image(64, 96)], [torch.zeros(1, 64, 96)])
    torch.testing.assert_close(output.mask_embeddings[0][0], output.features["i_embs"][0])
    assert output.areas[0].item() == 0


@torch.no_grad()
def test_batch_equals_one_by_one():
    encoder = build()
    images = [random_image(64, 96, seed=1), random_image(80, 48, seed=2), random_image(64, 96, seed=3)]
    masks = [rectangle_masks(count, *image.shape[1:]) for count, image in zip((2, 0, 4), images, strict=True)]
    together = encoder(images, masks).mask_embeddings
    for image, picture, embeddings in zip(images, masks, together, strict=True):
        alone = encoder([image], [picture]).mask_embeddings[0]
        torch.testing.assert_close(embeddings, alone, rtol=1e-4, atol=1e-5)


def test_what_trains():
    trains = {name for name, p in build(finetune_type="attention").named_parameters() if p.requires_grad}
    assert "proxy.trunk.pos_embed" in trains and "proxy.trunk.blocks.0.attn.qkv.weight" in trains
    assert not any("mlp" in name or "patch_embed" in name for name in trains)


def test_other_towers_are_refused():
    with pytest.raises(UserError, match="attention pooling"):
        LatentPoolTower(tiny_vit().proxy)
