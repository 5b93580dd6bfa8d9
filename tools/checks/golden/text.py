"""Kinds of the text encoder room and of vocabularies."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from open_clip.model import CLIPTextCfg

from maskclippp.data.vocabularies import seen_classes, split_synonyms
from maskclippp.similarity import max_over_synonyms
from maskclippp.text_encoders import TextClassifier, TextEncoder, build_text_encoder

from ..tiny_clip import register_model
from .batches import cut_to_counts, per_picture, pictures, rows_of_pictures
from .case import Case, Results, golden_kind
from .nodes import node_from

# The text tower does not depend on the image tower, which may be of a kind that no library knows.
SMALL_IMAGE_TOWER = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}


@golden_kind("text_classifier_clip")
@torch.no_grad()
def text_classifier_clip(case: Case) -> Results:
    """CLIPTextEncoder: tokens, embeddings; synonyms, seen classes, logits of classes."""
    yield from text_classifier(case, _encoder(case, "CLIPTextEncoder"))


@golden_kind("text_classifier_eva")
@torch.no_grad()
def text_classifier_eva(case: Case) -> Results:
    """EVACLIPTextEncoder: the same."""
    yield from text_classifier(case, _encoder(case, "EVACLIPTextEncoder"))


def text_config(case: Case) -> dict[str, Any]:
    """Return the case's model config with a small image tower, and of the text tower what open_clip knows."""
    known = {field.name for field in fields(CLIPTextCfg)}
    config = case.meta["model_config"]
    text = {key: value for key, value in config["text_cfg"].items() if key in known}
    return config | {"vision_cfg": SMALL_IMAGE_TOWER, "text_cfg": text}


def _encoder(case: Case, name: str) -> TextEncoder:
    node = node_from("MODEL.MASKCLIPPP.TEXT_ENCODER", case.meta.get("cfg", {}))
    node.NAME, node.MODEL_NAME = name, register_model(text_config(case))
    encoder = build_text_encoder(node)
    case.load_into(text_encoder=encoder)
    return encoder


def text_classifier(case: Case, encoder) -> Results:
    """Everything that depends on the text encoder only through its interface."""
    classifier = TextClassifier(encoder, case.meta["templates"])
    classifier_f = TextClassifier(encoder, case.meta.get("templates_f", case.meta["templates"]), averaged=True)
    for part in ("train", "test"):
        names = [split_synonyms(entry) for entry in case.meta[f"{part}_classes"]]
        flat = [name for synonyms in names for name in synonyms]
        yield f"{part}_num_synonyms", torch.tensor([len(synonyms) for synonyms in names])
        yield f"{part}_tokens", encoder.tokenize(classifier.sentences(flat))
        yield f"{part}_t_embs", classifier.bank(names).embeddings
        yield f"{part}_t_embs_f", classifier_f.bank(names).embeddings[:, 0]
    seen = seen_classes(case.meta["test_classes"], case.meta["train_classes"])
    yield "category_overlapping_mask", torch.tensor(seen)
    bank = classifier.bank(names)
    for source, target in (("corrs", "logits"), ("corrs_with_void", "logits_with_void")):
        parts = cut_to_counts(case, pictures(case, source, 2))
        if parts:
            logits = max_over_synonyms(torch.cat(parts), bank.class_index, bank.num_classes)
            numbered = sum(key.startswith(f"{target}.") for key in case.outputs())
            rows = rows_of_pictures(case, parts, max(numbered, 1))
            yield from per_picture(case, target, [logits[row] for row in rows])
