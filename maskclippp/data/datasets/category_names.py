"""The names of a file's categories, against those of the vocabulary that its ids are read with."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data.datasets.lvis_v0_5_categories import LVIS_CATEGORIES as LVIS_V0_5
from detectron2.data.datasets.lvis_v1_categories import LVIS_CATEGORIES as LVIS_V1

from maskclippp.utils.errors import UserError

from ..vocabularies import Vocabulary

logger = logging.getLogger(__name__)


def check_names(content: Any, vocabulary: Vocabulary, json_file: Path, *, tolerated: float = 0.5) -> None:
    """Look for names that tell that a file numbers its categories in another way than the vocabulary does.

    A name counts as evidence if it belongs to another class of the vocabulary; one that is simply unknown (datasets are
    published with several spellings) does not. Files without names are taken by their ids.

    Args:
        content: content of a COCO or LVIS file.
        vocabulary: its classes.
        json_file: the file, for the message.
        tolerated: share of the categories whose names may belong to other classes.

    Raises:
        UserError: more of them do.
    """
    named = _named(content)
    owners: dict[str, set[int]] = {}
    for class_id, names in zip(vocabulary.ids, vocabulary.names, strict=True):
        for name in names:
            owners.setdefault(_plain(name), set()).add(class_id)
    odd = [(i, name) for i, name in named if i not in owners.get(_plain(name), {i})]
    if len(odd) > tolerated * len(named):
        class_id, name = odd[0]
        expected = _first_name(vocabulary, class_id)
        raise UserError(
            f"{json_file}: category {class_id} is '{name}', in {vocabulary.name} it is {expected} "
            f"({len(odd)} of {len(named)} names belong to other ids); this is another version of the dataset"
        )


def check_lvis_names(content: Any, vocabulary: Vocabulary, json_file: Path) -> None:
    """Compare the names of an LVIS file with those of version 1.

    Raises:
        UserError: names of version 0.5, or names at the ids of other classes.
    """
    named, known, former = _named(content), _lvis_names(LVIS_V1), _lvis_names(LVIS_V0_5)
    other = [(i, name) for i, name in named if _plain(name) not in known.get(i, ())]
    old = [(i, name) for i, name in other if _plain(name) in former.get(i, ())]
    if old:
        class_id, name = old[0]
        expected = _first_name(vocabulary, class_id)
        raise UserError(
            f"{json_file}: looks like LVIS v0.5: category {class_id} is '{name}', in v1 it is {expected} "
            f"({len(other)} of {len(named)} names differ); download lvis_v1_val.json"
        )
    check_names(content, vocabulary, json_file, tolerated=0)
    if other:
        logger.warning(
            "%s: %d of %d category names are not LVIS v1's, first %d '%s'",
            *(json_file, len(other), len(named)),
            *other[0],
        )


def _named(content: Any) -> list[tuple[int, str]]:
    """Return id and name of the categories that have both."""
    categories: Sequence[Any] = content.get("categories") if isinstance(content, dict) else ()
    entries = [entry for entry in categories if isinstance(entry, dict)] if isinstance(categories, list) else []
    return [(i, name) for entry in entries if isinstance(i := entry.get("id"), int) and (name := entry.get("name"))]


def _first_name(vocabulary: Vocabulary, class_id: int) -> str:
    return f"'{vocabulary.names[vocabulary.ids.index(class_id)][0]}'" if class_id in vocabulary.ids else "no class"


def _lvis_names(categories: Sequence[dict[str, Any]]) -> dict[int, set[str]]:
    """Return the names of each category of detectron2's tables."""
    return {entry["id"]: {_plain(name) for name in (entry["name"], *entry["synonyms"])} for entry in categories}


def _plain(name: Any) -> str:
    """Return a name without underscores, brackets and capital letters."""
    return re.sub(r"[\s_()]+", " ", str(name)).strip().lower()
