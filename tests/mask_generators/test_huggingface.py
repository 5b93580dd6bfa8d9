"""Universal segmentation models of transformers, tiny and with random weights."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from maskclippp.config import default_config
from maskclippp.mask_generators import GeneratorInput, build_mask_generator
from maskclippp.mask_generators.huggingface import HuggingFaceSegmentor, names_of
from maskclippp.structures import ClosedClasses, MaskRules, MaskSet
from maskclippp.utils.errors import UserError
from tests.common import random_image

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="needs the package transformers")

LABELS = {0: "sky-other-merged", 1: "floor-wood", 2: "person, man"}
SIZE = {"shortest_edge": 64, "longest_edge": 96}
MASKS, TASK_LENGTH = 5, 7


def backbone():
    """A Swin transformer of one block a stage."""
    from transformers import SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    return SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, out_features=stages)


def save_mask2former(folder: Path) -> None:
    """Model and image processor."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

    widths = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "dim_feedforward": 16}
    depths = {"encoder_feedforward_dim": 16, "encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2}
    config = Mask2FormerConfig(backbone_config=backbone(), num_queries=MASKS, id2label=LABELS, **widths, **depths)
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessor(size=SIZE).save_pretrained(folder)


def save_maskformer(folder: Path) -> None:
    """Model and image processor."""
    from transformers import DetrConfig, MaskFormerConfig, MaskFormerForInstanceSegmentation, MaskFormerImageProcessor

    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    depths = {"encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    decoder = DetrConfig(d_model=32, num_queries=MASKS, **heads, **depths)
    widths = {"fpn_feature_size": 32, "mask_feature_size": 32}
    config = MaskFormerConfig(backbone_config=backbone(), decoder_config=decoder, id2label=LABELS, **widths)
    MaskFormerForInstanceSegmentation(config).save_pretrained(folder)
    MaskFormerImageProcessor(size=SIZE).save_pretrained(folder)


def save_oneformer(folder: Path) -> None:
    """Model, image processor that names a file of the hub, and a tokenizer of single letters."""
    from transformers import (
        CLIPTokenizer,
        OneFormerConfig,
        OneFormerForUniversalSegmentation,
        OneFormerImageProcessor,
    )

    widths = {"conv_dim": 32, "mask_dim": 32, "hidden_dim": 32, "dim_feedforward": 16, "encoder_feedforward_dim": 16}
    depths = {"encoder_layers": 1, "decoder_layers": 3, "num_attention_heads": 2, "task_seq_len": TASK_LENGTH}
    config = OneFormerConfig(backbone_config=backbone(), num_queries=MASKS, id2label=LABELS, **widths, **depths)
    OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    processor = OneFormerImageProcessor(size=SIZE)
    processor.class_info_file = "coco_panoptic.json"
    processor.save_pretrained(folder)
    tokens = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz"]
    tokens += [f"{letter}</w>" for letter in tokens[2:]]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)


SAVERS = {"mask2former": save_mask2former, "maskformer": save_maskformer, "oneformer": save_oneformer}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """Folder of a kind of model; made when first asked for."""
    made: dict[str, Path] = {}

    def of_kind(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            SAVERS[kind](made[kind])
        return made[kind]

    return of_kind


def find(generator: HuggingFaceSegmentor, *images: torch.Tensor, size: tuple[int, int] = (33, 44)) -> MaskSet:
    """Masks on one grid."""
    records = [{"image": image} for image in images]
    return generator(GeneratorInput(records=records, sizes=[size] * len(images)))


@needs_transformers
@pytest.mark.parametrize("kind", SAVERS)
def test_kinds(kind: str, folder) -> None:
    """Masks and logits are the model's own, whatever else is in the batch."""
    cfg = default_config()
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME = "HuggingFaceSegmentor"
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.PRETRAINED = str(folder(kind))
    generator = build_mask_generator(cfg).train()
    assert generator.classes.count == 3 and not generator.model.training
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert not generator.state_dict().keys() & {"task"}
    images = random_image(50, 70), random_image(90, 40, seed=1)
    both = find(generator, *images)
    for index, image in enumerate(images):
        alone = find(generator, image)
        dense = both.masks[index].dense()
        assert dense.shape == (MASKS, 33, 44) and both.logits[index].shape == (MASKS, 4)
        assert 0 <= float(dense.min()) and float(dense.max()) <= 1
        torch.testing.assert_close(dense, alone.masks[0].dense())
        torch.testing.assert_close(both.logits[index], alone.logits[0])
    pixels = generator.processor(images[0], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        options = {} if generator.task is None else {"task_inputs": generator.task}
        expected = generator.model(pixels, **options)
    mask_logits = expected.masks_queries_logits
    if kind == "mask2former":
        mask_logits = F.interpolate(mask_logits, (384, 384), mode="bilinear")
    masks = F.interpolate(mask_logits.sigmoid(), (33, 44), mode="bilinear")[0]
    torch.testing.assert_close(both.masks[0].dense(), masks)
    torch.testing.assert_close(both.logits[0], expected.class_queries_logits[0])


@needs_transformers
def test_the_task_is_told(folder) -> None:
    """Start, the letters of "the task is panoptic" as far as they fit, end."""
    task = HuggingFaceSegmentor(pretrained=str(folder("oneformer"))).task
    assert task.shape == (1, TASK_LENGTH) and int(task[0, 0]) == 0 and int(task[0, -1]) == 1


@needs_transformers
def test_masks_of_a_padded_picture(folder) -> None:
    """Processors that pad to a fixed size: the padding is cut off."""
    generator = HuggingFaceSegmentor(pretrained=str(folder("mask2former")))
    image = random_image(64, 96)
    expected = find(generator, image, size=(64, 96)).masks[0].dense()
    free = generator.processor

    def padded(**options):
        inputs = free(**options)
        inputs["pixel_values"] = torch.nn.functional.pad(inputs["pixel_values"], (0, 32, 0, 64))
        inputs["pixel_mask"] = torch.nn.functional.pad(inputs["pixel_mask"], (0, 32, 0, 64))
        return inputs

    generator.processor = padded
    found = find(generator, image, size=(64, 96)).masks[0]
    assert found.vertical.steps[:2] == (("bilinear", 128), ("crop", 64))
    assert found.horizontal.steps[:2] == (("bilinear", 128), ("crop", 96))
    assert found.dense().shape == expected.shape


@needs_transformers
def test_models_of_objects_leave_the_rest_free(folder, tmp_path: Path) -> None:
    """By their name; of the others every pixel gets a class, as transformers does it."""
    assert HuggingFaceSegmentor(pretrained=str(folder("mask2former"))).rules == MaskRules(postprocessing="transformers")
    (tmp_path / "mask2former-swin-tiny-coco-instance").symlink_to(folder("mask2former"))
    generator = HuggingFaceSegmentor(pretrained=str(tmp_path / "mask2former-swin-tiny-coco-instance"))
    assert generator.rules == MaskRules(solid=True, uncovered_is_void=True, postprocessing="transformers")
    assert HuggingFaceSegmentor(pretrained=str(folder("oneformer"))).rules.postprocessing == "transformers_oneformer"


def test_names() -> None:
    """Of labels as datasets have them."""
    assert names_of("sky-other-merged") == ("sky-other-merged", "sky")
    assert names_of("floor-wood") == ("floor-wood", "floor wood", "wood floor")
    assert names_of("person, man") == ("person", "man")
    assert names_of("dining table") == ("dining table",)
    assert names_of("other") == ("other",)


@needs_transformers
def test_names_are_classes(folder) -> None:
    """For the look-up into a vocabulary."""
    generator = HuggingFaceSegmentor(pretrained=str(folder("mask2former")))
    names = (("sky-other-merged", "sky"), ("floor-wood", "floor wood", "wood floor"), ("person", "man"))
    assert generator.classes == ClosedClasses(3, names)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the command."""
    monkeypatch.setattr("maskclippp.mask_generators.huggingface.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs one more package: pip install .*transformers"):
        HuggingFaceSegmentor(pretrained="somewhere/model")


@needs_transformers
def test_what_cannot_be_read(folder, tmp_path: Path) -> None:
    """No name, no model, another kind, pickles, weights of something else."""
    with pytest.raises(UserError, match="PRETRAINED is empty"):
        HuggingFaceSegmentor(pretrained="")
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be read as a universal segmentation model"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="a model of type bert; masks come from mask2former"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder("mask2former") / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="no file named model.safetensors"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
    weights = load_file(folder("mask2former") / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "queries" not in name}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="its weights lack 2 of the model's, model.transformer_module.queries_"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((folder("maskformer") / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match="cannot be read as a universal segmentation model"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as a universal segmentation model"):
        HuggingFaceSegmentor(pretrained=str(tmp_path))
