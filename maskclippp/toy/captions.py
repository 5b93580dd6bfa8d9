"""Sentences about pictures, and what each of them claims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskclippp.data.vocabularies.templates import TEMPLATES

from .classes import ToyClass, synonyms

_BARE = ("{}", "a {}", "the {}", "one {}", "{}.")
_PAIRS = ("{} and {}", "{} next to {}", "{} with {}", "{} beside {}")
_GROUNDS = ("{} on {}", "{} in front of {}", "{} over {}")
_ATTRIBUTE_ONLY = ("{} thing", "{} object", "{} shape", "something {}")


@dataclass(frozen=True)
class Caption:
    """A sentence with its claim: (attribute or None, shape or None) of the things it names, and the ground it names."""

    text: str
    things: tuple[tuple[str | None, str | None], ...] = ()
    ground: str | None = None


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def in_template(name: str, rng: np.random.Generator) -> str:
    """Put ``name`` into a sentence: half of them "a photo of a {}.", the others of the t14 and t80 lists or bare."""
    lists = (TEMPLATES["t1"], TEMPLATES["t1"], TEMPLATES["t14"], TEMPLATES["t80"] if rng.random() < 0.5 else _BARE)
    return _pick(rng, lists[int(rng.integers(len(lists)))]).format(name)


def _name(entry: ToyClass, rng: np.random.Generator) -> str:
    return _pick(rng, entry.names)


def _about_one(thing: ToyClass, rng: np.random.Generator) -> Caption:
    """Name a thing wholly, or only its shape or its attribute."""
    attribute, shape = thing.words
    chance = rng.random()
    if chance < 0.72:
        return Caption(in_template(_name(thing, rng), rng), ((attribute, shape),))
    if chance < 0.88:
        return Caption(in_template(_pick(rng, synonyms(shape)), rng), ((None, shape),))
    return Caption(in_template(_pick(rng, _ATTRIBUTE_ONLY).format(attribute), rng), ((attribute, None),))


def _about_ground(ground: ToyClass, rng: np.random.Generator) -> Caption:
    return Caption(in_template(_name(ground, rng), rng), ground=ground.words[0])


def describe(things: list[ToyClass], grounds: list[ToyClass], rng: np.random.Generator) -> str:
    """Return a sentence that names all ``things`` and then the first of ``grounds`` (either list may be empty)."""
    phrases = [f"a {_name(thing, rng)}" for thing in things]
    text = _pick(rng, _PAIRS).format(*phrases) if len(phrases) == 2 else ", ".join(phrases)
    if grounds and phrases:
        return _pick(rng, _GROUNDS).format(text, _name(grounds[0], rng)) + "."
    return (text or " and ".join(_name(ground, rng) for ground in grounds) or "nothing") + "."


def write_caption(things: list[ToyClass], grounds: list[ToyClass], rng: np.random.Generator) -> Caption:
    """Write a sentence that is true of a picture with these ``things`` and ``grounds`` (at least one of either).

    A picture of one thing is never called by its ground alone: people name the thing.
    """
    if not things or (grounds and len(things) > 1 and rng.random() < 0.06):
        return _about_ground(grounds[int(rng.integers(len(grounds)))], rng)
    order = rng.permutation(len(things))
    chance = rng.random()
    if chance < (0.88 if len(things) == 1 else 0.5):
        return _about_one(things[order[0]], rng)
    named = [things[index] for index in order[: 2 if chance < 0.9 else 3]]
    mentioned = (
        [grounds[int(rng.integers(len(grounds)))]] if grounds and (len(named) == 1 or rng.random() < 0.5) else []
    )
    ground = mentioned[0].words[0] if mentioned else None
    return Caption(describe(named, mentioned, rng), tuple(thing.words for thing in named), ground)


def all_words_sample() -> list[str]:
    """Return sentences that contain every word of the captions, class names and templates at least once."""
    frames = [*_BARE, *_PAIRS, *_GROUNDS, *_ATTRIBUTE_ONLY, *(text for texts in TEMPLATES.values() for text in texts)]
    return [frame.replace("{}", " ") for frame in frames]
