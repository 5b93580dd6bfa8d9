"""Tokenizer, captions, losses and the run of the tiny CLIP's pre-training."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP

from maskclippp.data.vocabularies.templates import TEMPLATES
from maskclippp.toy import pretrain as module
from maskclippp.toy.captions import Caption, write_caption
from maskclippp.toy.classes import CLASS_OF_WORDS, CLASSES
from maskclippp.toy.clip_data import Pictures, caption_matches, draw_pictures, word_targets
from maskclippp.toy.pretrain import Settings, contrastive_loss, encode_text, model_config, pretrain, word_loss
from maskclippp.toy.tokenizer import learn_merges, load_tokenizer, write_vocabulary
from maskclippp.toy.zero_shot import accuracy_by_word_class
from maskclippp.utils.errors import UserError

RED_CIRCLE, BLUE_STAR = CLASS_OF_WORDS["red", "circle"].id, CLASS_OF_WORDS["blue", "star"].id
SAND, BRICK = CLASS_OF_WORDS["sand",].id, CLASS_OF_WORDS["brick",].id


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "bpe.txt.gz"
    write_vocabulary(path)
    return load_tokenizer(path)


@pytest.fixture
def pictures():
    """Return a red circle and a blue star on sand; brick alone."""
    things = np.array([[RED_CIRCLE, BLUE_STAR], [-1, -1]], np.int16)
    grounds = np.array([[SAND, -1], [BRICK, -1]], np.int16)
    return Pictures(np.zeros((2, 48, 48, 3), np.uint8), things, grounds, np.zeros(2, np.int8))


def test_merges_make_each_word_one_symbol_most_frequent_pair_first():
    assert learn_merges(["ab ab ac"]) == [("a", "b</w>"), ("a", "c</w>")]


def test_words_are_single_tokens_and_text_survives(tokenizer):
    assert len(tokenizer.encode("a photo of a striped star.")) == 7
    for entry in CLASSES:
        for name in entry.names:
            assert len(tokenizer.encode(name)) == len(name.split())
    assert tokenizer.decode(tokenizer.encode("Zürich: 12 Ωmega")).strip() == "zürich : 1 2 ωmega"
    assert tokenizer.eot_token_id == tokenizer.vocab_size - 1


def test_all_templates_fit_the_context(tokenizer):
    for texts in TEMPLATES.values():
        assert max(len(tokenizer.encode(text.format("checkered triangle"))) for text in texts) + 2 <= 32


def test_captions_are_true_of_their_picture():
    rng = np.random.default_rng(0)
    things, grounds = [CLASSES[RED_CIRCLE], CLASSES[BLUE_STAR]], [CLASSES[SAND]]
    for _ in range(200):
        caption = write_caption(things, grounds, rng)
        assert caption.things or caption.ground == "sand"
        for attribute, shape in caption.things:
            assert any(attribute in (None, t.words[0]) and shape in (None, t.words[1]) for t in things)
            assert attribute is None or attribute in caption.text


def test_matches_are_what_captions_claim(pictures):
    captions = [
        Caption("", (("red", "circle"),)),
        Caption("", (("red", "star"),)),
        Caption("", ((None, "star"), ("red", None))),
        Caption("", (("blue", "star"),), "brick"),
        Caption("", (), "brick"),
        Caption("", (("blue", "star"),), "sand"),
    ]
    matches = [caption_matches(pictures, np.arange(2), captions[start : start + 2]) for start in (0, 2, 4)]
    assert np.concatenate(matches, 1).tolist() == [[True, False, True, False, False, True], [False] * 4 + [True, False]]


def test_picture_of_one_thing_is_not_called_by_its_ground():
    things, grounds = np.array([[RED_CIRCLE, -1], [-1, -1]], np.int16), np.full((2, 2), SAND, np.int16)
    single = Pictures(np.zeros((2, 48, 48, 3), np.uint8), things, grounds, np.zeros(2, np.int8))
    captions = [Caption("", (), "sand"), Caption("", (("red", None),), "sand")]
    assert caption_matches(single, np.arange(2), captions).tolist() == [[False, True], [True, False]]
    rng = np.random.default_rng(0)
    assert all(write_caption([CLASSES[RED_CIRCLE]], [CLASSES[SAND]], rng).things for _ in range(100))


def test_word_targets_and_loss(pictures):
    attributes, shapes, stuff = word_targets(pictures, np.arange(2))
    assert attributes.sum(1).tolist() == [2, 0] and shapes.sum(1).tolist() == [2, 0] and stuff.sum(1).tolist() == [1, 1]
    loss = word_loss(torch.zeros(2, 27), [attributes, shapes, stuff])
    assert float(loss) == pytest.approx(math.log(11) + math.log(8) + math.log(8), abs=1e-5)


def test_contrastive_loss_with_one_match_each_is_clips():
    similarity = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    target = torch.arange(5)
    expected = (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
    assert torch.allclose(contrastive_loss(similarity, torch.eye(5, dtype=torch.bool)), expected)


def test_cut_context_equals_padded_one(tokenizer):
    torch.manual_seed(0)
    model = CLIP(**model_config(tokenizer.vocab_size)).eval()
    tokens = tokenizer(["a red star", "a photo of a striped ring in the scene."])
    with torch.no_grad():
        assert torch.allclose(encode_text(model, tokens), model.encode_text(tokens), atol=1e-5)


def test_pictures_depend_on_seed_and_index_only():
    first = draw_pictures({"crop": 2, "ground": 3}, seed=4, show_progress=False)
    more = draw_pictures({"crop": 3, "ground": 3}, seed=4, show_progress=False)
    crops = int((first.kinds == 3).sum())
    assert np.array_equal(first.images[:crops], more.images[:crops])
    assert (first.things[crops:] == -1).all() and (first.grounds[crops:, 0] >= 0).all()


def test_accuracy_by_word_class():
    truth = np.array([RED_CIRCLE, BLUE_STAR, BRICK])
    scores = np.zeros((3, 96))
    scores[0, CLASS_OF_WORDS["red", "ring"].id] = 1
    scores[1, BLUE_STAR] = 1
    scores[2, SAND] = 1
    scores[2, BRICK] = 0.5
    figures = accuracy_by_word_class(scores, truth)
    assert figures["all"] == pytest.approx(33.33) and figures["attribute"] == 100 and figures["shape"] == 50
    assert figures["unseen"] == 50 and figures["unseen among unseen"] == 100 and figures["seen"] == 0


def test_run_resumes_bit_for_bit_and_ships(tmp_path, monkeypatch):
    settings = Settings(steps=6, word_steps=2, batch=8, scenes=(20, 20, 8, 6, 6))
    tiny_test = draw_pictures({"single": 4, "ground": 4}, seed=9, show_progress=False)
    monkeypatch.setattr(module, "draw_test_pictures", lambda seed, per_class: tiny_test)
    whole = module.Pretrainer(settings, tmp_path / "whole", workers=1)
    whole.run(evaluate_every=6, save_every=6)
    broken = module.Pretrainer(settings, tmp_path / "broken", workers=1)
    for _ in range(3):
        broken._train_step()
    broken.save()
    figures = pretrain(
        settings, work_dir=tmp_path / "broken", folder=tmp_path / "assets", workers=1, threads=torch.get_num_threads(),
        resume=True, command="test",
    )  # fmt: skip
    resumed = torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(resumed["average"][name], value), name
    log = json.loads((tmp_path / "assets" / "training.json").read_text())
    assert log["zero_shot_percent"] == figures and log["step"] == 6
    assert [(run["from_step"], run["command"]) for run in log["runs"]] == [(0, ""), (3, "test")]
    with pytest.raises(UserError, match="other settings"):
        pretrain(
            Settings(steps=6, lr=0.5, scenes=settings.scenes), work_dir=tmp_path / "broken", workers=1, resume=True
        )
    with pytest.raises(UserError, match="run without --resume"):
        pretrain(settings, work_dir=tmp_path / "none", workers=1, resume=True)
