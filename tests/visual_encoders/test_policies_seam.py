"""The seam between towers and mask policies: a policy of ten lines, and IP-CLIP's against the published states."""

from __future__ import annotations

import json

import pytest
import torch
from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer
from safetensors.torch import load_file
from torch import nn

from maskclippp.config import default_config
from maskclippp.structures import ImageBatch
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder
from maskclippp.visual_encoders.mask_policies import HardBlock, MaskPolicy
from maskclippp.visual_encoders.pool_encoder import CLIPResNet
from maskclippp.visual_encoders.token_encoder import TokenEncoder
from maskclippp.visual_encoders.towers import CLIPTower
from tests.common import TINY_CLIP, random_image, rectangle_masks, register_model, tiny_transform, tiny_vit
from tests.visual_encoders.test_all_encoders import resnet


class ReadsTheClassToken(MaskPolicy):
    sees_class = True

    def __init__(self, width: int, **options) -> None:
        super().__init__(**options)
        self.new_query = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def inside(self, values):
        return values > 0

    def bias(self, guide, blocks_left):
        return guide.inside[:, None]

    def query(self, tower, number, normed):
        return self.new_query[number - 1](normed).unflatten(-1, (tower.num_heads, -1)).transpose(1, 2)


def test_a_new_policy_is_a_few_lines():
    width = tiny_vit().tower.width
    encoder = tiny_vit(policy=ReadsTheClassToken(width, first_block=1), out_features=("m_embs", "i_embs"))
    plain = tiny_vit(out_features=("i_embs",))
    image, mask = random_image(64, 64), torch.zeros(2, 64, 64)
    mask[0, :32, :32] = 1
    outside = image.clone()
    outside[:, 40:] = 0
    with torch.no_grad():
        picture = encoder([image], [mask]).features["i_embs"][0]
        torch.testing.assert_close(picture, plain([image]).features["i_embs"][0], rtol=0, atol=1e-6)
        for block in encoder.tower.blocks[:-1]:  # image tokens learn nothing of each other
            block.attn.out_proj.weight.zero_()
        embeddings, changed = (encoder([x], [mask]).mask_embeddings[0] for x in (image, outside))
        torch.testing.assert_close(embeddings, changed, rtol=0, atol=1e-5)
        assert torch.isfinite(embeddings[1]).all()  # the empty mask reads the class token
        encoder.policy.new_query[3].weight.zero_()
        assert (embeddings[0] - encoder([image], [mask]).mask_embeddings[0][0]).abs().max() > 1e-4
    assert "new_query.0.weight" in encoder.state_dict()
    encoder.load_state_dict(encoder.state_dict(), strict=True)


def ip_clip(tensors: dict[str, torch.Tensor], config: dict[str, int], **options) -> TokenEncoder:
    tower = VisionTransformer(
        image_size=config["input_resolution"], patch_size=config["patch_size"], width=config["width"],
        layers=config["layers"], heads=config["heads"], mlp_ratio=4, output_dim=config["embed_dim"],
        act_layer=QuickGELU, norm_layer=LayerNorm,
    )  # fmt: skip
    weights = {key.removeprefix("visual."): value for key, value in tensors.items() if key.startswith("visual.")}
    tower.load_state_dict(weights)
    transform = tiny_transform()
    policy = HardBlock(first_block=config["start_layer"] + 1)
    return TokenEncoder(
        tower=CLIPTower(tower), policy=policy, train_transform=transform, test_transform=transform, **options
    )


@pytest.mark.parametrize("name", ["maft_ipclip_n100", "maft_ipclip_odd"])
def test_hard_blocking_is_ip_clip(shared_dir, name):
    """Both passes in one: the picture's own tokens, and patches that stop seeing the class token."""
    tensors = load_file(shared_dir / "golden" / f"{name}.safetensors")
    meta = json.loads((shared_dir / "golden" / f"{name}.json").read_text(encoding="utf-8"))
    config, tolerance = meta["config"], meta["tolerance"]
    blocks = [f"block{number}" for number in range(1, config["layers"] + 1)]
    encoder = ip_clip(tensors, config, out_features=("m_embs", "i_embs", *blocks), finetune_type="all")
    pixels, count = tensors["in.image"], len(tensors["in.image"])
    sizes = [tuple(pixels.shape[-2:])] * count
    output = encoder.encode(ImageBatch(pixels, list(tensors["in.masks"]), sizes, list(range(count))))
    close = {"atol": tolerance["atol"], "rtol": tolerance["rtol"]}
    proposals, pictures = torch.stack(output.mask_embeddings), torch.stack(output.features["i_embs"])
    torch.testing.assert_close(proposals, tensors["out.proposal_features"], **close)
    torch.testing.assert_close(pictures, tensors["out.global_features"], **close)
    for index, block in enumerate(blocks):
        patches = torch.stack(output.features[block]).flatten(2).transpose(1, 2)
        torch.testing.assert_close(patches, tensors[f"mid.masked.block{index}"][:, -patches.shape[1] :], **close)
    dense = encoder.tower.project(torch.stack(output.features[blocks[-1]]).permute(0, 2, 3, 1))
    torch.testing.assert_close(dense, tensors["out.dense_features_masked"], **close)
    scalar = (proposals * tensors["in.grad_weight_proposals"]).mean()
    (scalar + (pictures * tensors["in.grad_weight_global"]).mean()).backward()
    gradients = dict(encoder.proxy.named_parameters())
    expected = {key.removeprefix("grad.visual."): value for key, value in tensors.items() if key.startswith("grad.")}
    assert len(expected) > 20
    for key, gradient in expected.items():
        found = gradients[key].grad
        torch.testing.assert_close(found, gradient, atol=tolerance["grad_atol"], rtol=tolerance["grad_rtol"])


def test_pictures_without_masks_beside_others_keep_their_embedding():
    encoder = tiny_vit(policy=HardBlock(first_block=2), out_features=("m_embs", "i_embs"))
    images = [random_image(64, 64, seed=seed) for seed in range(2)]
    masks = [rectangle_masks(3, 64, 64), torch.zeros(0, 64, 64)]
    with torch.no_grad():
        together, alone = encoder(images, masks), encoder(images[:1], masks[:1])
    assert [len(each) for each in together.mask_embeddings] == [3, 0]
    torch.testing.assert_close(together.mask_embeddings[0], alone.mask_embeddings[0], rtol=0, atol=1e-5)


def test_policies_by_config():
    node = default_config().MODEL.MASKCLIPPP.VISUAL_ENCODER
    node.NAME, node.MODEL_NAME, node.MASK_PRIOR_BEG = "CLIPViT", register_model(TINY_CLIP), 2
    node.MASK_POLICY, node.DOWN_MASK_THRESH = "HardBlock", 0.25
    policy = build_visual_encoder(node).policy
    assert isinstance(policy, HardBlock) and (policy.first_block, policy.mask_threshold) == (2, 0.25)
    node.MASK_POLICY = "HardBloc"
    with pytest.raises(UserError, match="no mask policy is called 'HardBloc'; did you mean HardBlock"):
        build_visual_encoder(node)


def test_a_policy_with_mask_tokens_needs_blocks():
    encoder = resnet()
    with pytest.raises(UserError, match="MASK_POLICY HardBlock needs a tower with mask tokens"):
        CLIPResNet(tower=encoder.tower, policy=HardBlock(), train_transform=None, test_transform=None)
