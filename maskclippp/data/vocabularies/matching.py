"""When two names are the same: of a train and a test vocabulary, and to a text encoder."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .vocabulary import split_synonyms

SHOWN = 5
LONGEST = 60  # letters of a name in a message
Names = list[list[str]]


def comparable_names(*vocabularies: Sequence[Sequence[str]]) -> list[Names]:
    """Return the names of some vocabularies in the form in which they are compared.

    Case, and blanks around names and in a row, make no difference, except where two classes of one vocabulary would
    fall together by that: their names stay as they are written.

    Args:
        vocabularies: the synonyms of each class.

    Returns:
        The same lists with other strings.
    """
    kept = set().union(*map(_told_apart_by_spelling, vocabularies))
    return [
        [[name if _fold(name) in kept else _fold(name) for name in names] for names in vocabulary]
        for vocabulary in vocabularies
    ]


def seen_classes(test_entries: Sequence[str], train_entries: Sequence[str]) -> list[bool]:
    """Tell for each test class whether one of its synonyms is, letter by letter, a synonym of a training class.

    This is the published rule. Runs use :func:`seen_ignoring_case`, which says the same of published vocabularies.
    """
    return _common(*_split(test_entries, train_entries))


def seen_ignoring_case(test_entries: Sequence[str], train_entries: Sequence[str]) -> list[bool]:
    """Tell for each test class whether one of its synonyms is a synonym of a training class.

    See :func:`comparable_names` for what is the same.
    """
    return _common(*comparable_names(*_split(test_entries, train_entries)))


def spelling_notes(test_entries: Sequence[str], train_entries: Sequence[str]) -> list[str]:
    """Say where seen classes depend on case and blanks: those that match but for these, and those that do not."""
    test, train = _split(test_entries, train_entries)
    exact = seen_classes(test_entries, train_entries)
    seen = seen_ignoring_case(test_entries, train_entries)
    folded = _common(*([[_fold(name) for name in names] for names in each] for each in (test, train)))
    notes = []
    alike = [names[0] for names, found, now in zip(test, exact, seen, strict=True) if now and not found]
    if alike:
        notes.append(f"{len(alike)} classes count as seen, but are spelt with other case or blanks: {_some(alike)}")
    unlike = [names[0] for names, found, now in zip(test, folded, seen, strict=True) if found and not now]
    if unlike:
        notes.append(
            f"{len(unlike)} classes count as unseen, for other case or blanks tell classes apart here: {_some(unlike)}"
        )
    return notes


@dataclass(frozen=True)
class SameNames:
    """Classes that a text encoder cannot tell apart, as texts "'name' as 'name of an earlier class'".

    Attributes:
        hidden: of classes all of whose names are those of earlier classes: they never win.
        shared: of classes that have other names besides.
    """

    hidden: tuple[str, ...]
    shared: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return a line about each of the two, if there is something to say."""
        lines = {
            "classes never win, for the text encoder reads their names as those of earlier ones": self.hidden,
            "classes have names that the text encoder reads as those of earlier ones": self.shared,
        }
        return [f"{len(classes)} {told}: {_some(classes)}" for told, classes in lines.items() if classes]


def same_to_encoder(
    vocabulary: Sequence[Sequence[str]], tokenize: Callable[[list[str]], Any], templates: Sequence[str]
) -> SameNames:
    """Find classes whose names become the same tokens in every template: by case, or behind the end of the context.

    Args:
        vocabulary: the synonyms of each class.
        tokenize: S sentences -> (S, context) whole numbers.
        templates: sentences with ``{}``.
    """
    owners = [(index, name) for index, names in enumerate(vocabulary) for name in dict.fromkeys(names)]
    groups = [owners]
    for template in templates:
        groups = [part for group in groups for part in _by_tokens(group, template, tokenize)]
    earlier: dict[tuple[int, str], tuple[int, str]] = {}
    for group in groups:
        first = min(group)
        earlier |= {owner: first for owner in group if owner[0] != first[0]}
    hidden, shared = [], []
    for index, names in enumerate(vocabulary):
        same = [name for name in dict.fromkeys(names) if (index, name) in earlier]
        if same:
            other_class, other = earlier[index, same[0]]
            told = f"{_name_of(same[0], names)} as {_name_of(other, vocabulary[other_class])}"
            (hidden if len(same) == len(set(names)) else shared).append(told)
    return SameNames(tuple(hidden), tuple(shared))


def _name_of(name: str, names: Sequence[str]) -> str:
    """The name, and its class if that is called by another."""
    shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}..."
    return f"'{shown}'" if name == names[0] else f"'{shown}' of '{names[0]}'"


def _by_tokens(
    group: list[tuple[int, str]], template: str, tokenize: Callable[[list[str]], Any]
) -> Iterable[list[tuple[int, str]]]:
    """Split (class, name) pairs by their tokens; only parts with several classes are of interest."""
    tokens = np.asarray(tokenize([template.format(name) for _, name in group]))
    parts = defaultdict(list)
    for owner, row in zip(group, tokens, strict=True):
        parts[row.tobytes()].append(owner)
    return (part for part in parts.values() if len({index for index, _ in part}) > 1)


def _told_apart_by_spelling(vocabulary: Sequence[Sequence[str]]) -> set[str]:
    """Folded names under which classes fall together that do not share one as it is written."""
    owners: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for index, names in enumerate(vocabulary):
        for name in names:
            owners[_fold(name)][name].add(index)
    return {
        folded
        for folded, by_spelling in owners.items()
        if any(classes != set().union(*by_spelling.values()) for classes in by_spelling.values())
    }


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


def _split(*vocabularies: Sequence[str]) -> list[Names]:
    return [[split_synonyms(entry) for entry in entries] for entries in vocabularies]


def _common(test: Names, train: Names) -> list[bool]:
    trained = {name for names in train for name in names}
    return [not trained.isdisjoint(names) for names in test]


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
