"""Errors with suggestions, atomic files, package paths, registry, freezing, open_clip models."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from checks.tiny_clip import TINY_CLIP, register_model
from maskclippp.utils.errors import UserError, did_you_mean, nearest
from maskclippp.utils.files import atomic_write
from maskclippp.utils.finetune import Part, finetune
from maskclippp.utils.open_clip_models import create_clip, create_tokenizer
from maskclippp.utils.paths import ASSETS, resolve
from maskclippp.utils.registry import Registry


def test_nearest_ignores_case_and_is_best_first():
    assert nearest("clipvit", ["EVACLIPViT", "CLIPViT", "Other"])[0] == "CLIPViT"
    assert nearest("xyz", ["CLIPViT"]) == []


def test_did_you_mean_lists_what_is_valid_when_nothing_is_near():
    assert did_you_mean("CLIPVit", ["CLIPViT"]) == "; did you mean CLIPViT?"
    assert did_you_mean("zzz", ["b", "a"]) == "; valid: a, b"
    assert did_you_mean("zzz", []) == "; valid: none"
    assert did_you_mean("zzz", [f"{n:02}" for n in range(30)]).endswith("19, ...")


def test_atomic_write_replaces_only_on_success(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
        assert not path.exists() and temporary.suffix == ".txt"
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_package_paths():
    assert resolve("maskclippp://toy_clip/x.json") == str(ASSETS / "toy_clip" / "x.json")
    assert not resolve("~/x").startswith("~")
    assert resolve("relative/x") == "relative/x"


def test_registry_names_the_nearest():
    registry = Registry("VISUAL_ENCODER")
    registry.register(dict)
    assert registry.get("dict") is dict
    with pytest.raises(UserError, match="no visual encoder is called 'dic'; did you mean dict?"):
        registry.get("dic")


@pytest.mark.parametrize(
    ("finetune_type", "trains"),
    [
        ("none", []),
        ("all", ["0.weight", "0.bias", "1.weight", "1.bias"]),
        ("attention", ["0.weight"]),
        ("before_proj", ["0.weight", "0.bias"]),
        ("proj", ["1.weight", "1.bias"]),
    ],
)
def test_fine_tune_types_freeze_and_unfreeze(finetune_type, trains):
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].requires_grad_(False)
    parts = {"0.weight": Part.ATTENTION, "0.bias": Part.OTHER}
    assert finetune(module, finetune_type, lambda name: parts.get(name, Part.READOUT | Part.PROJECTION)) == trains
    assert [name for name, p in module.named_parameters() if p.requires_grad] == trains


def test_an_unknown_fine_tune_type():
    with pytest.raises(UserError, match="'attn' is not known"):
        finetune(nn.Linear(2, 2), "attn", lambda name: Part.OTHER)


def test_unknown_model_and_weights():
    with pytest.raises(UserError, match=r"MODEL_NAME 'ViT-B-61' is not an open_clip model; did you mean .*ViT-B-16"):
        create_clip("ViT-B-61")
    with pytest.raises(
        UserError, match="PRETRAINED 'opnai' is neither a file nor a tag of ViT-B-16: ViT-B-16 has openai, laion"
    ):
        create_clip("ViT-B-16", "opnai")


def test_weights_that_do_not_fit(tmp_path):
    save_file({"visual.proj": torch.zeros(3, 3)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="cannot be loaded into") as caught:
        create_clip(register_model(TINY_CLIP), str(tmp_path / "weights.safetensors"))
    assert "\n" not in str(caught.value)


def test_weights_from_a_file(tmp_path):
    name = register_model(TINY_CLIP)
    torch.manual_seed(5)
    state = create_clip(name).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "weights.safetensors")
    loaded = create_clip(name, str(tmp_path / "weights.safetensors")).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_tokenizer():
    tokens = create_tokenizer(register_model(TINY_CLIP))(["a photo of a dog."])
    assert tokens.shape == (1, 77)
    assert int(tokens.argmax()) == int(tokens.ne(0).sum()) - 1


def test_a_tokenizer_that_needs_more_packages_says_which(monkeypatch):
    def without_transformers(name, **options):
        raise ImportError("No module named 'transformers'")

    monkeypatch.setattr("open_clip.get_tokenizer", without_transformers)
    with pytest.raises(UserError, match="ViT-B-16-SigLIP needs: pip install transformers sentencepiece"):
        create_tokenizer("ViT-B-16-SigLIP")
