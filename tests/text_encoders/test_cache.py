"""Text embeddings on disk: found again, never mixed up, repaired."""

from __future__ import annotations

from pathlib import Path

import torch

from maskclippp.text_encoders import EmbeddingCache, TextClassifier, bank, default_cache
from maskclippp.text_encoders.cache import weights_digest
from tests.common import tiny_text_encoder

NAMES = [["cat"], ["dog", "puppy"], ["sky"]]
TEMPLATES = ["a {}.", "the {}."]


def classifier(folder: Path, monkeypatch, encoder=None) -> TextClassifier:
    monkeypatch.setattr(bank, "MANY_SENTENCES", 1)
    return TextClassifier(encoder or tiny_text_encoder(), TEMPLATES, cache=EmbeddingCache(folder))


def test_the_second_run_reads_what_the_first_wrote(tmp_path, monkeypatch):
    first = classifier(tmp_path, monkeypatch).bank(NAMES)
    again = classifier(tmp_path, monkeypatch)
    monkeypatch.setattr(again, "embed", None)  # a call would fail
    torch.testing.assert_close(again.bank(NAMES).embeddings, first.embeddings, rtol=0, atol=0)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_weights_names_or_templates_have_other_files(tmp_path, monkeypatch):
    encoder = tiny_text_encoder()
    cache = EmbeddingCache(tmp_path)
    paths = [cache.path(encoder, TEMPLATES, ["cat"]), cache.path(encoder, TEMPLATES, ["dog"])]
    paths.append(cache.path(encoder, TEMPLATES[:1], ["cat"]))
    before = weights_digest(encoder)
    with torch.no_grad():
        encoder.ln_final.bias[0] += 1e-3
    assert weights_digest(encoder) != before
    paths.append(cache.path(encoder, TEMPLATES, ["cat"]))
    assert len(set(paths)) == 4


def test_a_damaged_file_is_made_again(tmp_path, monkeypatch, caplog):
    first = classifier(tmp_path, monkeypatch).bank(NAMES)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    torch.testing.assert_close(classifier(tmp_path, monkeypatch).bank(NAMES).embeddings, first.embeddings)
    assert "made again" in caplog.text


def test_a_tuned_encoder_is_never_kept(tmp_path, monkeypatch):
    classifier(tmp_path, monkeypatch, tiny_text_encoder(finetune_type="attention")).bank(NAMES)
    assert not list(tmp_path.iterdir())


def test_the_variable_moves_or_switches_off(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKCLIPPP_CACHE", str(tmp_path))
    assert default_cache().folder == tmp_path / "text"
    monkeypatch.setenv("MASKCLIPPP_CACHE", "")
    assert default_cache() is None
