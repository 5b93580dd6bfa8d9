"""ResNets of detectron2 as frozen encoders: names, weights of torchvision, messages."""

from __future__ import annotations

import pytest
import torch
import torchvision

from maskclippp.config import default_config
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder
from maskclippp.visual_encoders.d2_backbone import D2Backbone
from tests.common import random_image

FEATURES = ["res2", "res3", "res4", "res5"]


def build(depth: int = 18, pretrained: str = "", **encoder) -> D2Backbone:
    cfg = default_config()
    node = cfg.MODEL.RESNETS
    node.DEPTH, node.OUT_FEATURES, node.STRIDE_IN_1X1 = depth, FEATURES, False
    node.RES2_OUT_CHANNELS = 64 if depth < 50 else 256
    node = cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F
    node.NAME, node.PRETRAINED, node.SIZE_DIVISIBILITY = "D2Backbone", pretrained, 32
    for key, value in encoder.items():
        node[key] = value
    return build_visual_encoder(node, cfg)


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    torch.manual_seed(0)
    model = torchvision.models.resnet18()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(model.state_dict(), path)
    return model.eval(), path


@torch.no_grad()
def test_weights_of_torchvision_give_its_features(torchvision_file):
    model, path = torchvision_file
    encoder = build(pretrained=str(path), OUT_FEATURES=["res3_f", "res5_f"])
    image = random_image(64, 96)
    output = encoder([image])
    [batch] = encoder.transform([image])
    x, found = model.maxpool(model.relu(model.bn1(model.conv1(batch.pixels)))), {}
    for stage in range(1, 5):
        x = getattr(model, f"layer{stage}")(x)
        found[f"res{stage + 1}_f"] = x[0]
    assert list(output.features) == ["res3_f", "res5_f"]
    for name, (feature,) in output.features.items():
        torch.testing.assert_close(feature, found[name])
        shape = encoder.output_shape()[name]
        assert feature.shape == (shape.channels, 64 // shape.stride, 96 // shape.stride)


def test_published_key_list(published_keys):
    with torch.device("meta"):
        state = build(50).proxy.state_dict()
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == published_keys("mask2former_r50", "backbone.")


def test_a_generator_file_and_one_of_another_family(tmp_path, torchvision_file):
    weights = build(pretrained=str(torchvision_file[1])).proxy.state_dict()
    path = tmp_path / "generator.pth"
    torch.save({f"backbone.{key}": tensor for key, tensor in weights.items()}, path)
    loaded = build(pretrained=str(path)).proxy.state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in weights.items())
    torch.save({"backbone.patch_embed.proj.weight": torch.zeros(2)}, path)
    problem = r"than MODEL.RESNETS says: stem.conv1.weight is not in the file \(100 of 100 are missing\); set MODEL.RES"
    with pytest.raises(UserError, match=problem):
        build(pretrained=str(path))


def test_frozen_with_all_features_and_names_that_are_not_there():
    encoder = build().train()
    assert not encoder.proxy.training and not any(p.requires_grad for p in encoder.parameters())
    assert list(encoder.output_shape()) == [f"{name}_f" for name in FEATURES]
    with pytest.raises(UserError, match="'res6_f' of D2Backbone: its backbone gives res2, .*MODEL.RESNETS.OUT_FEAT"):
        build(OUT_FEATURES=["res6_f"])
