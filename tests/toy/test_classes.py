"""The table of toy classes and the vocabularies that are shipped for it."""

from __future__ import annotations

from collections import Counter

from maskclippp.data.vocabularies import load_vocabulary, seen_classes
from maskclippp.toy.classes import ATTRIBUTES, CAPTION_ONLY_WORDS, CLASSES, SHAPES, STUFF, vocabulary_text
from maskclippp.utils.paths import ASSETS

VOCABULARIES = ASSETS.parent / "data" / "vocabularies"


def test_class_counts():
    kinds = Counter(entry.kind for entry in CLASSES)
    assert kinds == {"seen": 60, "held-out combination": 16, "caption-only word": 18, "unseen stuff": 2}
    assert len(ATTRIBUTES) * len(SHAPES) + len(STUFF) == len(CLASSES) == 96
    assert [entry.id for entry in CLASSES] == list(range(96))
    assert all(entry.is_seen for entry in CLASSES[:60]) and not any(entry.is_seen for entry in CLASSES[60:])


def test_held_out_combinations_consist_of_seen_words():
    seen_words = {word for entry in CLASSES if entry.is_seen for word in entry.words}
    for entry in CLASSES:
        if entry.kind == "held-out combination":
            assert set(entry.words) <= seen_words
    assert not seen_words & {*CAPTION_ONLY_WORDS, "brick", "water"}


def test_shipped_vocabularies_are_the_table():
    assert (VOCABULARIES / "toy_96.tsv").read_text(encoding="utf-8") == vocabulary_text(seen_only=False)
    assert (VOCABULARIES / "toy_60.tsv").read_text(encoding="utf-8") == vocabulary_text(seen_only=True)


def test_vocabularies_load_and_agree_on_seen():
    every, seen = load_vocabulary("toy_96"), load_vocabulary("toy_60")
    assert len(every.ids) == 96 and list(seen.ids) == list(every.ids)[:60]
    assert every.names[0] == ("red circle", "red disc")
    assert list(seen_classes(every.class_entries, seen.class_entries)) == [entry.is_seen for entry in CLASSES]
