"""What a picture is called: its path below the folder of a dataset's pictures, which no other picture of it has.

Loaders give every record the list ``names``: that path, then shorter forms without suffix (whole path, last two parts,
..., last part), each only if it fits no other picture of the dataset. Whoever looks for a file of a picture or writes
one goes by these names.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath, PurePosixPath
from typing import Any

from maskclippp.utils.errors import UserError

Record = dict[str, Any]

NAMES = "names"
_ENDS_ANOTHER = "path_ends_another"
_LONGEST_FOLDER = 200


def set_names(records: Sequence[Record], image_root: str, where: str) -> None:
    """Give records their names.

    Args:
        records: of one dataset, all of them.
        image_root: folder of its pictures.
        where: what lists the pictures, for messages.

    Raises:
        UserError: a picture is not below that folder.
    """
    root = os.path.join(os.path.abspath(image_root), "")
    found = []
    for record in records:
        path = os.path.abspath(record["file_name"])
        if not path.startswith(root):
            raise UserError(f"{where}: the picture {record['file_name']} is outside of the folder of images {root}")
        found.append(PurePath(path[len(root) :]).as_posix())
    names = unique_names(found)
    shorter = {tail for name in names for tail in _tails(name)[1:]}
    for record, name in zip(records, found, strict=True):
        record[NAMES] = names[name]
        if _without_suffix(name) in shorter:
            record[_ENDS_ANOTHER] = True


def unique_names(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return for each of some paths, with "/" as separator, the list ``names`` of a record."""
    paths = list(dict.fromkeys(paths))
    tails = {path: _tails(path) for path in paths}
    wholes = Counter([*paths, *(each[0] for each in tails.values())])
    parts = Counter([*paths, *(tail for each in tails.values() for tail in each)])
    return {
        path: [path, *(tail for tail in each if (wholes if tail == each[0] else parts)[tail] == 1)]
        for path, each in tails.items()
    }


def own_names(record: Record) -> list[str]:
    """Return the names of a record; of one that no loader made, the file's name and all ends of its path."""
    if NAMES in record:
        return record[NAMES]
    path = PurePath(record["file_name"]).as_posix()
    return [path.rpartition("/")[-1], *_tails(path.lstrip("/"))]


def output_name(record: Record) -> str:
    """Return the name, without suffix, of files made of a picture.

    That is the picture's path below the folder of images without its suffix, or with it if another picture has the
    same path but for the suffix.
    """
    return output_of(own_names(record))


def output_of(names: Sequence[str]) -> str:
    """As :func:`output_name`, of the list ``names``."""
    stem = _without_suffix(names[0])
    return stem if stem in names[1:] else names[0]


def dataset_folders(names: Sequence[str]) -> dict[str, str]:
    """Return for each of some datasets, whose names may be paths, the name of a folder or file for its results."""
    folders: dict[str, str] = {}
    for name in names:
        flat = name.strip("./~").replace("/", "_") or "dataset"
        if len(flat.encode()) > _LONGEST_FOLDER:
            digest = hashlib.blake2b(name.encode(), digest_size=6).hexdigest()
            flat = f"{digest}_{flat.encode()[-_LONGEST_FOLDER + 20 :].decode(errors='ignore')}"
        others = [folder for other, folder in folders.items() if other != name]
        folders[name] = next(each for each in (flat, *(f"{flat}_{n}" for n in range(2, 999))) if each not in others)
    return folders


class NameIndex:
    """Names of pictures in somebody's file, which may be shorter or longer than ours or have another suffix.

    Args:
        names: with "/" as separator; repetitions count once.
        where: the file, for messages.
    """

    def __init__(self, names: Iterable[str], where: str) -> None:
        self._where = where
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(names):
            self._by_stem[PurePosixPath(name).stem].append(name)

    def find(self, record: Record) -> str | None:
        """Return the name that means the picture of a record, None if there is none.

        The same path counts more than one of which it is the end, and both count more than names that agree without
        suffix or in their last parts only; those must fit no other picture of the dataset. A longer path for a picture
        whose own path is the end of another picture's must agree in one more folder.

        Raises:
            UserError: several names fit equally well.
        """
        own, *tails = own_names(record)
        candidates = self._by_stem.get(PurePosixPath(own).stem, [])
        stem = _without_suffix(own)
        path, needed = record["file_name"], own.count("/") + 1 + record.get(_ENDS_ANOTHER, False)
        rules = [
            lambda name: name == own,
            lambda name: name.endswith(f"/{own}") and _common_parts(name, path) >= needed,
        ]
        if stem in tails:
            rules.append(
                lambda name: _without_suffix(name).endswith(f"/{stem}") and _common_parts(name, path) >= needed
            )
        rules += [lambda name, tail=tail: _without_suffix(name) == tail for tail in tails]
        for rule in rules:
            fitting = [name for name in candidates if rule(name)]
            if fitting:
                return self._closest(fitting, path)
        return None

    def _closest(self, names: list[str], path: str) -> str:
        """The name that has most of its last parts in common with a path."""
        common = [_common_parts(name, path) for name in names]
        if common.count(max(common)) > 1:
            raise UserError(f"{path}: {self._where} has several images of this name; give their folders as well")
        return names[common.index(max(common))]


def _tails(path: str) -> list[str]:
    parts = _without_suffix(path).split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _without_suffix(path: str) -> str:
    return os.path.splitext(path)[0]


def _common_parts(one: str, other: str) -> int:
    """How many of their last parts two paths have in common, whatever their suffixes."""
    parts = zip(*(reversed(PurePath(_without_suffix(path)).parts) for path in (one, other)), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))
