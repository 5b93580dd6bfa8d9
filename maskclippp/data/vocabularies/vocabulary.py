"""Vocabularies: the classes of a dataset in contiguous order, each with its synonyms.

File format (``<name>.tsv``, UTF-8): lines starting with ``#`` are comments; every other line is
``id<TAB>thing|stuff<TAB>name, synonym, ...``. The line order is the contiguous order, the id is the dataset's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskclippp.utils import files
from maskclippp.utils.errors import UserError, did_you_mean

MAX_ID_DIGITS = 18
FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Vocabulary:
    """The K classes of a dataset in contiguous order.

    Attributes:
        name: file name without suffix.
        ids: K ids as used in the dataset's own files.
        is_thing: K flags, true for countable things.
        names: K tuples of synonyms; the first one is shown in tables. Repeated synonyms are kept: they count.
    """

    name: str
    ids: tuple[int, ...]
    is_thing: tuple[bool, ...]
    names: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def class_entries(self) -> list[str]:
        """K strings of comma-joined synonyms, as dataset metadata hold them."""
        return [",".join(synonyms) for synonyms in self.names]


def builtin_vocabularies() -> list[str]:
    """Return the names of the vocabularies shipped with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.tsv"))


def load_vocabulary(name_or_path: str | Path) -> Vocabulary:
    """Read a shipped vocabulary by name, or any file in the same format by its path (``.tsv``).

    Raises:
        UserError: unknown name, unreadable file, malformed line, repeated id or class, no class at all.
    """
    path = find_vocabulary(str(name_or_path))
    vocabulary, problems = scan_vocabulary(path)
    if vocabulary is None:
        raise UserError(problems[0])
    return vocabulary


def scan_vocabulary(path: Path) -> tuple[Vocabulary | None, list[str]]:
    """Read a vocabulary file; return it, or None and everything that is wrong with it, one line each.

    Raises:
        UserError: unreadable file.
    """
    rows: dict[str, tuple[int, bool, tuple[str, ...]]] = {}
    line_of_id: dict[int, int] = {}
    problems = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        try:
            class_id, is_thing, synonyms = _parse_line(line, where)
        except UserError as error:
            problems.append(str(error))
            continue
        entry = ",".join(synonyms)
        if entry in rows:
            problems.append(f"{where}: class '{synonyms[0]}' is listed twice with the same names; remove one line")
        elif class_id in line_of_id:
            problems.append(f"{where}: id {class_id} is already used in line {line_of_id[class_id]}; ids must differ")
        line_of_id.setdefault(class_id, number)
        rows.setdefault(entry, (class_id, is_thing, synonyms))
    if not rows and not problems:
        problems.append(f"vocabulary {path} has no classes; write 'id<TAB>thing|stuff<TAB>name, synonym' lines")
    if problems:
        return None, problems
    ids, is_thing, names = zip(*rows.values(), strict=True)
    return Vocabulary(path.stem, ids, is_thing, names), []


def read_text(path: Path) -> str:
    """Read a text file (UTF-8, with or without its mark).

    Raises:
        UserError: it cannot be read.
    """
    try:
        return files.read_text(path)
    except UserError as error:
        raise UserError(f"cannot read vocabulary {error}") from None


def split_synonyms(entry: str) -> list[str]:
    """Split a class entry at its commas; one blank after a comma is dropped, everything else is kept as written."""
    return entry.replace(", ", ",").split(",")


def parse_class_list(classes: str | Iterable[str]) -> list[str]:
    """Check a user's class list and return one comma-joined entry per class.

    Args:
        classes: class entries (an entry is a name, or synonyms separated by commas); or a text in which semicolons or
            line ends separate the entries. Blank lines and lines starting with ``#`` are skipped in a text.

    Raises:
        UserError: no class, an empty name, a comma without a name on one side, a name that two classes share.
    """
    entries = _split_text(classes) if isinstance(classes, str) else list(classes)
    if not entries:
        raise UserError("the class list is empty; give at least one class name")
    parsed = [_clean_entry(entry, position) for position, entry in enumerate(entries, start=1)]
    owner: dict[str, int] = {}
    for position, synonyms in enumerate(parsed, start=1):
        for synonym in dict.fromkeys(synonyms):
            if synonym in owner:
                raise UserError(
                    f"class list: '{synonym}' is a name of class {owner[synonym]} and of class {position}; "
                    "keep it in one of them"
                )
            owner[synonym] = position
    return [",".join(synonyms) for synonyms in parsed]


def _split_text(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [entry for line in lines for entry in line.split(";")]


def _clean_entry(entry: str, position: int) -> list[str]:
    if not isinstance(entry, str) or not entry.strip():
        raise UserError(f"class list: class {position} has no name ({entry!r}); remove it or name it")
    synonyms = [re.sub(r"\s+", " ", part).strip() for part in entry.split(",")]
    if "" in synonyms:
        empty = synonyms.index("") + 1
        raise UserError(
            f"class list: class {position} ({entry.strip()!r}): name {empty} of {len(synonyms)} is empty; "
            "remove the stray comma"
        )
    return synonyms


def find_vocabulary(name_or_path: str) -> Path:
    """Return the file of a shipped vocabulary, or a path as it is.

    Raises:
        UserError: neither a path nor the name of a shipped vocabulary.
    """
    if name_or_path.endswith(".tsv") or "/" in name_or_path:
        return Path(os.path.expanduser(name_or_path))
    valid = builtin_vocabularies()
    if name_or_path not in valid:
        raise UserError(f"no vocabulary is called '{name_or_path}'{did_you_mean(name_or_path, valid)}")
    return FOLDER / f"{name_or_path}.tsv"


def _parse_line(line: str, where: str) -> tuple[int, bool, tuple[str, ...]]:
    fields = line.split("\t")
    if len(fields) != 3:
        raise UserError(f"{where}: {len(fields)} tab-separated fields, expected 3 (id, thing|stuff, names)")
    class_id, kind, names = fields
    if not re.fullmatch(r"[0-9]+", class_id):
        raise UserError(f"{where}: id {class_id!r} is not a whole number")
    if len(class_id) > MAX_ID_DIGITS:
        raise UserError(f"{where}: id {class_id[:20]}... has {len(class_id)} digits, at most {MAX_ID_DIGITS} are read")
    if kind not in ("thing", "stuff"):
        raise UserError(f"{where}: {kind!r} is neither 'thing' nor 'stuff'")
    synonyms = tuple(split_synonyms(names))
    if any(not synonym.strip() for synonym in synonyms):
        raise UserError(f"{where}: empty class name or stray comma in {names!r}")
    return int(class_id), kind == "thing", synonyms
