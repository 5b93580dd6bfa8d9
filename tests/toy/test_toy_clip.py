"""The shipped tiny CLIP: small, loadable by open_clip, and it knows the words of the toy world."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from maskclippp.toy.pretrain import (
    LOG_FILE,
    MODEL_FILE,
    VOCABULARY_FILE,
    WEIGHTS_FILE,
    draw_test_pictures,
    model_config,
)
from maskclippp.toy.tokenizer import load_tokenizer, write_vocabulary
from maskclippp.toy.zero_shot import accuracy_by_word_class, class_scores, true_classes
from maskclippp.utils.paths import ASSETS, resolve

FOLDER = ASSETS / "toy_clip"
FRESH_SEED = 4321
FLOORS = {"all": 85, "attribute among things": 90, "shape among things": 85, "stuff": 90, "unseen": 85}


def test_size_and_format():
    weights = load_file(FOLDER / WEIGHTS_FILE)
    assert (FOLDER / WEIGHTS_FILE).stat().st_size <= 3 * 2**20
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert all(value.isfinite().all() for value in weights.values())


def test_tokenizer_is_the_one_the_script_writes(tmp_path):
    write_vocabulary(tmp_path / VOCABULARY_FILE)
    assert (tmp_path / VOCABULARY_FILE).read_bytes() == (FOLDER / VOCABULARY_FILE).read_bytes()


def test_model_config_names_the_shipped_tokenizer():
    config = json.loads((FOLDER / MODEL_FILE).read_text())
    tokenizer = load_tokenizer(FOLDER / VOCABULARY_FILE)
    assert config == model_config(tokenizer.vocab_size)
    assert resolve(config["text_cfg"]["tokenizer_kwargs"]["bpe_path"]) == str(FOLDER / VOCABULARY_FILE)


def test_open_clip_loads_it_and_it_knows_the_words():
    open_clip.add_model_config(FOLDER / MODEL_FILE)
    model = open_clip.create_model("toy-clip", pretrained=str(FOLDER / WEIGHTS_FILE)).eval()
    fresh = draw_test_pictures(FRESH_SEED, per_class=5)
    tokenizer = load_tokenizer(FOLDER / VOCABULARY_FILE)
    figures = accuracy_by_word_class(class_scores(model, tokenizer, fresh.images), true_classes(fresh))
    assert all(figures[name] >= floor for name, floor in FLOORS.items()), figures
    reported = json.loads((FOLDER / LOG_FILE).read_text())["zero_shot_percent"]
    assert figures["all"] == pytest.approx(reported["all"], abs=8)
