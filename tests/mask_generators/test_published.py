"""Published checkpoints of generators: names of all versions, sizes, and what is said of a file that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.mask_generators import MaskGenerator, build_mask_generator
from maskclippp.mask_generators.head import MaskHead
from maskclippp.mask_generators.published import describe, generator_weights
from maskclippp.utils import checkpoint_io
from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import without_weights
from tests.mask_generators.tiny import SHAPES, TEXT_WIDTH, scatter, tiny_config

WITH_TEXT = SHAPES | {"emb_f": ShapeSpec(channels=TEXT_WIDTH)}


def make(name: str, file: Path | str = "", *options) -> MaskGenerator:
    cfg = tiny_config(name)
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.PRETRAINED = str(file)
    cfg.merge_from_list(list(options))
    return build_mask_generator(cfg, WITH_TEXT)


def weights_of(name: str) -> dict[str, Tensor]:
    """Weights of a tiny generator under the published names, with entries that nobody reads."""
    torch.manual_seed(3)
    generator = make(name)
    scatter(generator)
    return {
        **generator.state_dict(),
        "criterion.empty_weight": torch.ones(6),
        "backbone.stem.conv1.weight": torch.ones(3),
    }


@pytest.fixture(params=["Mask2FormerSegmentor", "FCCLIPSegmentor"])
def name(request) -> str:
    return request.param


def renamed(weights: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {key.replace(old, new): value for key, value in weights.items()}


def test_every_version_of_a_file_gives_the_same_weights(tmp_path, name):
    weights = weights_of(name)
    wanted = {key: value for key, value in weights.items() if key.startswith(("sem_seg_head.", "void_embedding."))}
    versions = {
        "present": weights,
        "older decoder": renamed(weights, "query_feat", "static_query"),
        "older head": renamed(weights, "pixel_decoder.", ""),
        "both": renamed(renamed(weights, "query_feat", "static_query"), "pixel_decoder.", ""),
        "wrapped": {f"module.{key}": value for key, value in weights.items()},
    }
    for number, (version, content) in enumerate(versions.items()):
        for content_of_file in ({"model": content, "iteration": 7}, content):
            file = tmp_path / f"{number}.pth"
            torch.save(content_of_file, file)
            loaded = make(name, file).state_dict()
            assert loaded.keys() == wanted.keys(), version
            assert all(torch.equal(loaded[key], wanted[key]) for key in wanted), version


def test_a_present_file_without_metadata_is_not_converted_again():
    """Copies of the published files have lost the version number; the names tell it."""
    weights = {"sem_seg_head.pixel_decoder.x": torch.ones(1), "sem_seg_head.predictor.query_feat.weight": torch.ones(1)}
    assert generator_weights(weights).keys() == weights.keys()


def refusal(name: str, file: Path, content: dict[str, Tensor], *options) -> str:
    torch.save({"model": content}, file)
    with pytest.raises(UserError) as error:
        make(name, file, *options)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)
    return str(error.value)


def test_a_file_of_another_size(tmp_path, name):
    message = refusal(name, tmp_path / "f.pth", weights_of(name), "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 9)
    assert "channels, 7 queries" in message and "channels, 9 queries" in message
    assert "sem_seg_head.predictor.query_feat.weight: (7, 32) in the file, (9, 32) in the model" in message
    assert "NUM_OBJECT_QUERIES" in message


def test_features_of_another_size(tmp_path):
    weights = weights_of("Mask2FormerSegmentor")
    key = "sem_seg_head.pixel_decoder.adapter_1.weight"
    message = refusal("Mask2FormerSegmentor", tmp_path / "f.pth", weights | {key: torch.ones(32, 96, 1, 1)})
    assert "it is Mask2Former with features of 96, 8, 10, 12 channels, 7 queries, 5 classes" in message
    assert "but the config makes Mask2Former with features of 6, 8, 10, 12 channels" in message
    assert f"first difference: {key}" in message


def test_a_file_of_another_family(tmp_path):
    closed, open_ = weights_of("Mask2FormerSegmentor"), weights_of("FCCLIPSegmentor")
    message = refusal("Mask2FormerSegmentor", tmp_path / "f.pth", open_)
    assert "it is FC-CLIP or MAFT+ with" in message and f"text of {TEXT_WIDTH} numbers, but the config makes" in message
    assert "predictor.class_embed.weight is missing" in message and "check SEGMENTOR.NAME" in message
    message = refusal("FCCLIPSegmentor", tmp_path / "f.pth", closed)
    assert "it is Mask2Former with" in message and "but the config makes FC-CLIP or MAFT+" in message
    assert "it is MAFT+ with" in refusal("Mask2FormerSegmentor", tmp_path / "f.pth", open_ | {"cdt.x": torch.ones(1)})


def test_a_file_of_something_else(tmp_path, name):
    message = refusal(name, tmp_path / "f.pth", {"visual_encoder.proxy.weight": torch.ones(1)})
    assert "it is no Mask2Former-type generator (it has visual_encoder.proxy.weight and others)" in message


def test_a_missing_and_an_unknown_key(tmp_path, name):
    weights = weights_of(name)
    key = "sem_seg_head.predictor.query_embed.weight"
    without = {other: value for other, value in weights.items() if other != key}
    assert f"first difference: {key} is missing; check" in refusal(name, tmp_path / "f.pth", without)
    message = refusal(name, tmp_path / "f.pth", weights | {"sem_seg_head.predictor.extra": torch.ones(1)})
    assert "first difference: sem_seg_head.predictor.extra is unknown; check" in message


def test_a_missing_file(tmp_path, name):
    with pytest.raises(UserError, match="there is no checkpoint .*absent.pth"):
        make(name, tmp_path / "absent.pth")


def test_a_known_file_that_is_not_there_is_fetched(tmp_path, name, monkeypatch):
    fetched, weights = tmp_path / "fetched.pth", weights_of(name)
    torch.save(weights, fetched)
    monkeypatch.setattr(checkpoint_io, "ensure_weights", lambda path: {"ckpts/maftp_b.pth": fetched}[path])
    generator = make(name, "ckpts/maftp_b.pth")
    key = "sem_seg_head.predictor.query_feat.weight"
    assert torch.equal(generator.state_dict()[key], weights[key])


def test_without_weights_no_file_is_read(name, caplog):
    with without_weights():
        make(name, "absent.pth")
        make(name)
    assert not caplog.records
    make(name)
    assert f"{name} has random weights: SEGMENTOR.PRETRAINED names no checkpoint" in caplog.text


SWIN_T, SWIN_L, RESNET = (96, 192, 384, 768), (192, 384, 768, 1536), (256, 512, 1024, 2048)
CONVNEXT_B, CONVNEXT_L = (128, 256, 512, 1024), (192, 384, 768, 1536)


@pytest.mark.parametrize(
    ("channels", "queries", "embed_dim", "pixel_decoder", "predictor"),
    [
        pytest.param(RESNET, 100, None, 6_035_904, 14_493_062, id="m2f-r50"),
        pytest.param(SWIN_T, 100, None, 5_421_504, 14_493_062, id="m2f-swin-t"),
        pytest.param(SWIN_L, 200, None, 5_790_144, 14_544_262, id="m2f-swin-l"),
        pytest.param(CONVNEXT_B, 250, 640, 5_544_384, 14_897_793, id="fcclip-b"),
        pytest.param(CONVNEXT_L, 250, 768, 5_790_144, 14_930_689, id="fcclip-l"),
        pytest.param(CONVNEXT_B, 100, 640, 5_544_384, 14_820_993, id="maft-b"),
        pytest.param(CONVNEXT_L, 100, 768, 5_790_144, 14_853_889, id="maft-l"),
    ],
)
def test_published_sizes(channels, queries, embed_dim, pixel_decoder, predictor):
    cfg = default_config()
    cfg.merge_from_list(
        [
            *("MODEL.MASK_FORMER.DEC_LAYERS", 10),
            *("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", queries),
            *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 133),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 256),
            *("MODEL.SEM_SEG_HEAD.NORM", "GN"),
            *("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", 6),
        ]
    )
    names = [f"res{number}" for number in range(2, 6)]
    shapes = {n: ShapeSpec(channels=c, stride=2**i) for n, c, i in zip(names, channels, range(2, 6), strict=True)}
    with torch.device("meta"):
        head = MaskHead(cfg, shapes, names, names[1:], embed_dim)
    assert sum(parameter.numel() for parameter in head.pixel_decoder.parameters()) == pixel_decoder
    assert sum(parameter.numel() for parameter in head.predictor.parameters()) == predictor
    assert len(head.pixel_decoder.state_dict()) == 117
    assert len(head.predictor.state_dict()) == (175 if embed_dim is None else 184)
    kind = "Mask2Former" if embed_dim is None else "FC-CLIP or MAFT+"
    named = {f"sem_seg_head.{key}": value for key, value in head.state_dict().items()}
    assert describe(named).startswith(f"{kind} with features of {', '.join(map(str, channels))} channels, {queries} ")
