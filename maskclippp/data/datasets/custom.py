"""Your own data: one YAML or JSON file names pictures, annotations and classes, and stands where a dataset name does.

Keys, paths relative to the file (see datasets/README.md for examples)::

    images: FOLDER            pictures
    labels: FOLDER            label maps; a pixel is the position of its class
    instances: FILE           COCO instance JSON
    panoptic: FILE            COCO panoptic JSON, with
    segments: FOLDER            its PNGs; by default the folder beside the file, of the same name without suffix
    classes: ...              list of entries, {id: entry}, a vocabulary's name, or a file (.tsv, or a class list)
    ignore_label: 255         value of unlabelled pixels; by default 255, or 65535 for 256 and more classes
    image_ext, label_ext      ends of the file names; by default those that are found
    evaluator: TYPE           evaluator_type of the metadata, for evaluators of your own; by default as the kind says

One of labels, instances and panoptic says what the dataset is; beside panoptic the other two are for its semantic and
instance evaluation. With images and classes alone it is a dataset to predict on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError, show
from maskclippp.utils.logging import log_once

from ..annotations import read_json
from ..instance_json import categories_by_id, whole_number
from ..vocabularies import Vocabulary, parse_class_list, split_synonyms
from ..vocabularies.check import read_classes
from .custom_file import DatasetFile
from .ignore import USUAL, default_ignore_label, lost_class
from .row import DatasetRow

logger = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml", ".json")
_EVALUATOR_TYPES = {"sem_seg": "sem_seg", "instance": "coco", "panoptic": "coco_panoptic_seg", "images": "images"}


def is_custom(name: str) -> bool:
    """Whether the name of a dataset is the path of a file that describes it."""
    return name.endswith(SUFFIXES)


def custom_row(name: str) -> DatasetRow:
    """Return the row that a file describes, with absolute paths. Folders need not be there yet.

    Args:
        name: path of the file, the name of the dataset as well.

    Raises:
        UserError: no such file, not YAML, a key that is unknown, missing or of another type, classes that do not fit.
    """
    file = DatasetFile(name)
    kind = file.kind()
    image_ext = file.text("image_ext")
    if not image_ext and kind != "images":
        # The files of COCO name their pictures, whatever the suffix.
        image_ext = file.found_suffix("images", "jpg") if kind == "sem_seg" else "jpg"
    label_ext = file.text("label_ext") or file.found_suffix("labels", "png")
    panoptic = file.path("panoptic")
    classes = _classes(file, kind)
    segments = file.path("segments") or panoptic.removesuffix(".json")
    return DatasetRow(
        name=name,
        kind=kind,
        vocabulary=name,
        classes=classes,
        evaluator_type=file.text("evaluator") or _EVALUATOR_TYPES[kind],
        image_root=file.path("images"),
        sem_seg_root=file.path("labels"),
        panoptic_root=segments if panoptic else "",
        panoptic_json=panoptic,
        instances_json=file.path("instances"),
        ignore_label=_ignore_label(file, classes),
        image_ext=image_ext,
        label_ext=label_ext,
        described_in=name,
    )


def _ignore_label(file: DatasetFile, classes: Vocabulary) -> int:
    """The stated value of unlabelled pixels, which may be a class, or one that is none. Both are told if unusual."""
    stated = file.number("ignore_label")
    label = default_ignore_label(len(classes)) if stated is None else stated
    if not file.path("labels"):
        return label
    if stated is None and label != USUAL:
        log_once(
            logger,
            logging.WARNING,
            f"{file.name}: of {len(classes)} classes one has the value {USUAL}, so pixels of value {label} are "
            "unlabelled; state ignore_label if it is another",
        )
    if label < len(classes):
        message = lost_class(label, classes.class_entries[label])
        log_once(logger, logging.WARNING, f"{file.where('ignore_label')}: {message}")
    return label


def _classes(file: DatasetFile, kind: str) -> Vocabulary:
    """The classes with the ids of the annotation file, or with positions for label maps."""
    given, by_id = file.value("classes"), file.class_ids()
    if kind in ("sem_seg", "images"):
        return _positions(file, given, by_id)
    if isinstance(given, str) and not _is_class_list(file, given):
        return _named(file, given)
    categories = _categories(file, kind)
    if by_id:
        if set(by_id) != set(categories):
            odd = sorted(set(by_id) ^ set(categories))[0]
            side = "the file" if odd in categories else "classes"
            raise UserError(f"{file.name}: classes: only {side} has a category {odd}; give a name to each category")
        entries = _parse_entries(file, [by_id[class_id] for class_id in categories])
    elif given is None:
        entries = [str(category.get("name", "")) for category in categories.values()]
        entries = _parse_entries(file, entries)
    else:
        entries = _entries(file, given)
        if len(entries) != len(categories):
            raise UserError(
                f"{file.where('classes')}: {len(entries)} classes, but {file.path(_annotation_key(kind))} has "
                f"{len(categories)} categories; list one class for each, in the order of their ids"
            )
    things = tuple(kind == "instance" or _is_thing(file, category) for category in categories.values())
    silent = [class_id for class_id, category in categories.items() if category.get("isthing") is None]
    if kind == "panoptic" and silent:
        log_once(
            logger,
            logging.WARNING,
            f"{file.path('panoptic')}: {len(silent)} of {len(categories)} categories have no 'isthing', first category "
            f"{silent[0]}; they are taken as things",
        )
    return Vocabulary(file.name, tuple(categories), things, tuple(tuple(split_synonyms(entry)) for entry in entries))


def _is_thing(file: DatasetFile, category: dict[str, Any]) -> bool:
    """What a category of a panoptic file says; nothing means yes."""
    value = category.get("isthing")
    number = int(value) if isinstance(value, bool) else 1 if value is None else whole_number(value)
    if number not in (0, 1):
        where = f"{file.path('panoptic')}: 'isthing' of category {category['id']}"
        raise UserError(f"{where} is {show(value)}; it must be 1 (things) or 0 (stuff)")
    return bool(number)


def _positions(file: DatasetFile, given: Any, by_id: Mapping[int, str]) -> Vocabulary:
    """The classes of label maps."""
    if by_id:
        if sorted(by_id) != list(range(len(by_id))):
            odd = next(position for position in range(len(by_id)) if position not in by_id)
            raise UserError(f"{file.name}: classes: label maps count classes from 0 on, but {odd} has no name")
        entries = _parse_entries(file, [by_id[position] for position in range(len(by_id))])
    elif given is None:
        raise UserError(f"{file.name}: classes is missing; list them, or name a vocabulary or a file")
    elif isinstance(given, str) and not _is_class_list(file, given):
        return _named(file, given)
    else:
        entries = _entries(file, given)
    names = tuple(tuple(split_synonyms(entry)) for entry in entries)
    return Vocabulary(file.name, tuple(range(len(names))), (False,) * len(names), names)


def _is_class_list(file: DatasetFile, given: str) -> bool:
    """Whether classes names a text file, which has neither ids nor things."""
    return not given.endswith(".tsv") and os.path.isfile(file.path("classes"))


def _named(file: DatasetFile, given: str) -> Vocabulary:
    """A shipped vocabulary or a ``.tsv`` file."""
    path = Path(file.path("classes"))
    if (path.suffix or "/" in given) and not os.path.isfile(path):
        raise UserError(f"{file.where('classes')}: there is no file {path}")
    try:
        return read_classes(str(path) if os.path.isfile(path) else given)
    except UserError as error:
        raise UserError(f"{file.where('classes')}: {error}") from None


def _entries(file: DatasetFile, given: Any) -> list[str]:
    """Class entries from a list in the file, or from a text file."""
    if isinstance(given, str):
        try:
            return read_classes(file.path("classes")).class_entries
        except UserError as error:
            raise UserError(f"{file.where('classes')}: {error}") from None
    if not isinstance(given, list):
        where = file.where("classes")
        raise UserError(f"{where}: classes must be a list, 'ID: name' lines or a text, not {show(given)}")
    return _parse_entries(file, given)


def _parse_entries(file: DatasetFile, entries: list[Any]) -> list[str]:
    """Check class entries, see :func:`parse_class_list`; the error names the file."""
    try:
        return parse_class_list(entries)
    except UserError as error:
        raise UserError(f"{file.name}: {error}") from None


def _annotation_key(kind: str) -> str:
    return "panoptic" if kind == "panoptic" else "instances"


def _categories(file: DatasetFile, kind: str) -> dict[int, dict[str, Any]]:
    """The categories of the annotation file by id, in the order of ids."""
    path = file.path(_annotation_key(kind))
    return categories_by_id(read_json(path), path)
