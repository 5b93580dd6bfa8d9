"""Check a vocabulary file or a class list, and tell what of it training has seen."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path

from maskclippp.utils.errors import UserError
from maskclippp.utils.open_clip_models import create_tokenizer

from .matching import same_to_encoder, seen_ignoring_case
from .templates import get_templates
from .vocabulary import (
    Vocabulary,
    builtin_vocabularies,
    find_vocabulary,
    parse_class_list,
    read_text,
    scan_vocabulary,
    split_synonyms,
)

SHOWN = 5
TOKENIZER, TEMPLATES = "ViT-B-16", "t14"
"""What names are read with: CLIP's tokens, 77 for a sentence, are those of all models of the published configs."""


@dataclass
class VocabularyReport:
    """What was found.

    Attributes:
        name: as it was asked for.
        vocabulary: the classes; None if they cannot be used.
        is_list: a plain class list, which knows no ids and no things.
        problems: why it cannot be used, or names that will not do what they seem to.
        notes: what is allowed and may still be a mistake.
    """

    name: str
    vocabulary: Vocabulary | None = None
    is_list: bool = False
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A summary line, and one for each problem and note."""
        rows = [f"  problem: {problem}" for problem in self.problems] + [f"  note: {note}" for note in self.notes]
        return [f"{self.name}: {self._summary()}{' FAIL' if self.problems else ' OK'}", *rows]

    def _summary(self) -> str:
        if self.vocabulary is None:
            return "no usable vocabulary,"
        names = sum(len(synonyms) for synonyms in self.vocabulary.names)
        things = "class list" if self.is_list else f"{sum(self.vocabulary.is_thing)} things"
        return f"{len(self.vocabulary)} classes, {names} names, {things},"


def read_classes(name_or_path: str) -> Vocabulary:
    """Read a shipped vocabulary by name, a ``.tsv`` file, or any other file as a plain class list.

    A class list has one class on each line (or between semicolons), synonyms separated by commas; its ids are
    positions and none of its classes is a thing.

    Raises:
        UserError: it cannot be used; with all problems of a ``.tsv`` file.
    """
    report = VocabularyReport(name_or_path)
    _read(name_or_path, report)
    if report.vocabulary is None:
        raise UserError("; ".join(report.problems))
    return report.vocabulary


def check_vocabulary(name_or_path: str, num_classes: int | None = None) -> VocabularyReport:
    """Check a shipped vocabulary, a ``.tsv`` file or a class list.

    Args:
        name_or_path: see :func:`read_classes`.
        num_classes: how many it must have.
    """
    report = VocabularyReport(name_or_path)
    try:
        _read(name_or_path, report)
    except UserError as error:
        report.problems.append(str(error))
    if report.vocabulary is not None:
        _check_names(report.vocabulary, report)
        _check_tokens(report.vocabulary, report)
        if num_classes not in (None, len(report.vocabulary)):
            report.problems.append(f"{len(report.vocabulary)} classes, expected {num_classes}")
    return report


def compare_with(vocabulary: Vocabulary, trained: Vocabulary) -> tuple[list[str], list[str]]:
    """Return the first names of the classes that training with another vocabulary has seen, and of the others."""
    flags = seen_ignoring_case(vocabulary.class_entries, trained.class_entries)
    pairs = list(zip(vocabulary.names, flags, strict=True))
    return [names[0] for names, seen in pairs if seen], [names[0] for names, seen in pairs if not seen]


def _read(name_or_path: str, report: VocabularyReport) -> None:
    path = Path(os.path.expanduser(name_or_path))
    report.is_list = path.suffix != ".tsv" and os.path.isfile(path)
    if not report.is_list:
        report.vocabulary, report.problems = scan_vocabulary(find_vocabulary(name_or_path))
        return
    try:
        entries = parse_class_list(read_text(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    names = tuple(tuple(split_synonyms(entry)) for entry in entries)
    report.vocabulary = Vocabulary(path.stem, tuple(range(len(names))), (False,) * len(names), names)


def _check_names(vocabulary: Vocabulary, report: VocabularyReport) -> None:
    blank = [name for names in vocabulary.names for name in names if name != name.strip()]
    if blank:
        report.problems.append(f"blanks around {_some(map(repr, blank))}: names are compared letter by letter")
    repeated = [names[0] for names in vocabulary.names if len(set(names)) < len(names)]
    if repeated:
        report.notes.append(f"a name is repeated, and counts twice, within {_some(repeated)}")
    _note_gaps(sorted(vocabulary.ids), report)


def _note_gaps(ids: list[int], report: VocabularyReport) -> None:
    """Ids that are not used. There may be billions between two that are."""
    gaps = ids[-1] - ids[0] + 1 - len(ids)
    if gaps:
        unused = (number for one, other in pairwise(ids) for number in range(one + 1, other))
        first = ", ".join(map(str, islice(unused, SHOWN)))
        more = f" and {gaps - SHOWN} more" if gaps > SHOWN else ""
        report.notes.append(f"{gaps} ids between {ids[0]} and {ids[-1]} are unused: {first}{more}")


def _check_tokens(vocabulary: Vocabulary, report: VocabularyReport) -> None:
    """Names that are the same to CLIP. Published vocabularies have classes that never win, and stay as they are."""
    same = same_to_encoder(vocabulary.names, create_tokenizer(TOKENIZER), get_templates(TEMPLATES))
    published = report.name in builtin_vocabularies()
    (report.problems if same.hidden and not published else report.notes).extend(same.lines())


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
