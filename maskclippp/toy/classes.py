"""The 96 classes of the toy world, and which of them mask training may see.

A thing is an attribute (colour or pattern) times a shape, stuff is a textured ground. 60 classes are seen in mask
training. The 36 unseen ones are of three kinds: held-out combinations of seen words, things with a word that no mask
annotation ever uses ("purple", "star"), and two kinds of stuff. Pre-training of the tiny CLIP has pictures and captions
of all 96, as the large CLIP models have met nearly everything; only mask training knows seen and unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("red", "yellow", "green", "blue", "white", "black", "purple")
PATTERNS = ("striped", "dotted", "checkered", "rainbow")
ATTRIBUTES = COLOURS + PATTERNS
SHAPES = ("circle", "square", "triangle", "heart", "cross", "ring", "moon", "star")
STUFF = ("grass", "gravel", "sand", "wood", "sky", "tiles", "brick", "water")
SYNONYMS = {"circle": "disc", "grass": "lawn"}

CAPTION_ONLY_WORDS = ("purple", "star")
UNSEEN_STUFF = ("brick", "water")
HELD_OUT = (
    ("red", "heart"), ("red", "moon"), ("yellow", "triangle"), ("yellow", "ring"),
    ("green", "circle"), ("green", "cross"), ("blue", "square"), ("blue", "heart"),
    ("white", "ring"), ("white", "triangle"), ("black", "moon"), ("black", "circle"),
    ("striped", "cross"), ("dotted", "square"), ("checkered", "heart"), ("rainbow", "ring"),
)  # fmt: skip


@dataclass(frozen=True)
class ToyClass:
    """One class: its ``id`` in all files, its ``names`` (synonyms, first one preferred), and what it is made of."""

    id: int
    names: tuple[str, ...]
    words: tuple[str, ...]
    is_thing: bool
    is_seen: bool

    @property
    def kind(self) -> str:
        """Return ``seen``, ``held-out combination``, ``caption-only word`` or ``unseen stuff``."""
        if self.is_seen:
            return "seen"
        if not self.is_thing:
            return "unseen stuff"
        return "caption-only word" if set(self.words) & set(CAPTION_ONLY_WORDS) else "held-out combination"


def synonyms(word: str) -> tuple[str, ...]:
    """Return ``word`` and, if it has one, its synonym."""
    return (word, SYNONYMS[word]) if word in SYNONYMS else (word,)


def _is_seen(words: tuple[str, ...]) -> bool:
    return words not in HELD_OUT and not set(words) & {*CAPTION_ONLY_WORDS, *UNSEEN_STUFF}


def _names(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join((*words[:-1], last)) for last in synonyms(words[-1]))


def _make_classes() -> tuple[ToyClass, ...]:
    """List seen things, seen stuff, unseen things, unseen stuff: the seen classes have the first ids."""
    things = [(attribute, shape) for attribute in ATTRIBUTES for shape in SHAPES]
    combinations = things + [(ground,) for ground in STUFF]
    ordered = sorted(combinations, key=lambda words: (not _is_seen(words), len(words) == 1))
    return tuple(
        ToyClass(id=index, names=_names(words), words=words, is_thing=len(words) == 2, is_seen=_is_seen(words))
        for index, words in enumerate(ordered)
    )


CLASSES = _make_classes()
THINGS = tuple(entry for entry in CLASSES if entry.is_thing)
CLASS_OF_WORDS = {entry.words: entry for entry in CLASSES}


def vocabulary_text(*, seen_only: bool) -> str:
    """Return a vocabulary file: ``id<TAB>thing|stuff<TAB>name, synonym`` for all classes or the seen ones."""
    chosen = [entry for entry in CLASSES if entry.is_seen or not seen_only]
    title = "classes of the toy world that mask training sees" if seen_only else "all classes of the toy world"
    rows = [f"{entry.id}\t{'thing' if entry.is_thing else 'stuff'}\t{', '.join(entry.names)}" for entry in chosen]
    return "\n".join([f"# {title}: {len(chosen)} (the table is maskclippp/toy/classes.py)", *rows]) + "\n"
