"""Registration of the datasets with detectron2's catalogs: one call, safe to repeat, no file is touched."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from maskclippp.utils.errors import UserError, did_you_mean, first_line

from ..names import set_names
from .aliases import ALIASES
from .completeness import Loaded, agreed
from .custom import custom_row, is_custom
from .ignore import lost_class
from .loaders import load, load_records, thing_ids
from .mess import is_mess
from .palette import row_colors
from .row import DatasetRow
from .table import DATASETS
from .vocabulary import row_vocabulary

LABEL_DIVISOR = 1000

_registered_roots: dict[str, str] = {}
_sources: dict[str, tuple[DatasetRow, str]] = {}


def register_all(root: str | None = None) -> None:
    """Register every dataset of the table, also by its other names; a repeated call with another root moves them there.

    The metadata of MESS datasets, whose class names come from another package, are made by :func:`get_metadata`.

    Args:
        root: datasets root; by default the environment variable DETECTRON2_DATASETS, else ``datasets``; ``~`` works.
    """
    root = os.path.expanduser(root or os.environ.get("DETECTRON2_DATASETS") or "datasets")
    for row in (*DATASETS.values(), *ALIASES.values()):
        if _registered_roots.get(row.name) == root and row.name in DatasetCatalog:
            continue
        if row.name in DatasetCatalog:
            DatasetCatalog.remove(row.name)
            MetadataCatalog.pop(row.name, None)
        _register_files(row, root)
        _registered_roots[row.name] = root
        if not is_mess(row):
            MetadataCatalog.get(row.name).set(**_metadata(row, root))


def get_dataset(name: str, *, allow_incomplete: bool = False) -> list[dict[str, Any]]:
    """Return the records of a registered dataset; see :func:`open_dataset`."""
    return open_dataset(name, allow_incomplete=allow_incomplete).records


def open_dataset(name: str, *, allow_incomplete: bool = False) -> Loaded:
    """Return the records of a registered dataset, and what of it is missing.

    Args:
        name: the dataset.
        allow_incomplete: go on with what is there if something is missing.

    Raises:
        UserError: unknown name, files that are malformed, or missing ones without ``allow_incomplete``.
    """
    get_metadata(name)
    if name not in DatasetCatalog:
        raise UserError(f"dataset '{name}' is registered with class names only; register its files as well")
    if name not in _sources:
        return _load_of_others(name)
    row, root = _sources[name]
    return agreed(row, load(row, root), allow_incomplete)


def get_metadata(name: str) -> Metadata:
    """Return the metadata of a registered dataset, or of a vocabulary that is registered without files.

    The path of a file that describes a dataset (see :mod:`maskclippp.data.datasets.custom`) is registered first.

    Raises:
        UserError: nothing of that name is registered, the package with its class names is not installed, or the file
            is wrong.
    """
    if not _registered_roots:
        register_all()
    if is_custom(name) and name not in DatasetCatalog:
        _register_custom(name)
    if name not in DatasetCatalog and name not in MetadataCatalog.list():
        raise UserError(f"no dataset is called '{name}'{did_you_mean(name, DatasetCatalog.list())}")
    metadata = MetadataCatalog.get(name)
    row = DATASETS.get(name)
    if row and is_mess(row) and not metadata.get("stuff_classes", None):
        metadata.set(**_metadata(row, _registered_roots[name]))
    return metadata


def _register_custom(name: str) -> None:
    row = custom_row(name)
    _register_files(row, "")
    MetadataCatalog.get(name).set(**_metadata(row, ""))


def _register_files(row: DatasetRow, root: str) -> None:
    DatasetCatalog.register(row.name, partial(load_records, row, root))
    _sources[row.name] = row, root


def _load_of_others(name: str) -> Loaded:
    """The records of a dataset that somebody else has registered; whether they are all is not known.

    Raises:
        UserError: they cannot be read.
    """
    try:
        records = DatasetCatalog.get(name)
    except (OSError, AssertionError, ImportError, KeyError) as error:  # its loader knows no remedy
        raise UserError(
            f"dataset '{name}' is none of ours, and its files cannot be read ({first_line(error)}); put them below the "
            f"folder that DETECTRON2_DATASETS names before the start{did_you_mean(name, DATASETS)}"
        ) from None
    paths = [os.path.dirname(os.path.abspath(record["file_name"])) for record in records if "file_name" in record]
    if records and len(paths) == len(records):
        set_names(records, os.path.commonpath(paths), name)
    return Loaded(records, len(records))


def _metadata(row: DatasetRow, root: str) -> dict[str, Any]:
    common = {"evaluator_type": row.evaluator_type, "image_root": os.path.join(root, row.image_root)}
    if row.kind in ("instance", "lvis"):
        return common | _instance_metadata(row, root)
    vocabulary = row_vocabulary(row)
    if row.ignore_label < len(vocabulary) and not row.described_in:
        message = lost_class(row.ignore_label, vocabulary.class_entries[row.ignore_label])
        raise UserError(f"dataset '{row.name}': {message}; give its row an ignore_label that is no class")
    ids = range(len(vocabulary)) if row.labels_are_ids else vocabulary.ids
    contiguous = {class_id: index for index, class_id in enumerate(ids)}
    if row.stuff_ids_of_stuff_only:
        contiguous = {class_id: index for class_id, index in contiguous.items() if not vocabulary.is_thing[index]}
    common |= {
        "stuff_classes": vocabulary.class_entries,
        "stuff_colors": row_colors(row, vocabulary),
        "stuff_dataset_id_to_contiguous_id": contiguous,
        "thing_dataset_id_to_contiguous_id": {},
        "ignore_label": row.ignore_label,
        "described_in": row.described_in,
    }
    if row.kind == "images":
        things = {vocabulary.ids[index]: index for index, thing in enumerate(vocabulary.is_thing) if thing}
        return common | {"thing_dataset_id_to_contiguous_id": things, "has_annotations": False}
    common |= {"sem_seg_root": os.path.join(root, row.sem_seg_root), "gt_ext": row.label_ext}
    if row.domain:
        foreground = [index for index in range(len(vocabulary)) if index != row.background_class]
        common |= {
            "domain": row.domain,
            "background_class": row.background_class,
            "classes_of_interest": list(row.classes_of_interest) or foreground,
        }
    return common | _panoptic_metadata(row, root) if row.kind == "panoptic" else common


def _panoptic_metadata(row: DatasetRow, root: str) -> dict[str, Any]:
    vocabulary = row_vocabulary(row)
    things = [index for index, thing in enumerate(vocabulary.is_thing) if thing]
    shown = list(range(len(vocabulary))) if row.all_are_things else things
    entries, colors = vocabulary.class_entries, row_colors(row, vocabulary)
    return {
        "thing_classes": [entries[index] for index in shown],
        "thing_colors": [colors[index] for index in shown],
        "thing_dataset_id_to_contiguous_id": {vocabulary.ids[index]: index for index in things},
        "panoptic_root": os.path.join(root, row.panoptic_root),
        "panoptic_json": os.path.join(root, row.panoptic_json),
        "json_file": os.path.join(root, row.instances_json) if row.instances_json else None,
        # The official evaluation of Cityscapes reads all files below this folder.
        "gt_dir": os.path.join(root, row.sem_seg_root),
        "label_divisor": LABEL_DIVISOR,
        "contiguous_id_to_class_name": entries,
    }


def _instance_metadata(row: DatasetRow, root: str) -> dict[str, Any]:
    vocabulary = row_vocabulary(row)
    things = [index for index, thing in enumerate(vocabulary.is_thing) if thing]
    entries, colors = vocabulary.class_entries, row_colors(row, vocabulary)
    return {
        "thing_classes": [entries[index] for index in things],
        "thing_colors": [colors[index] for index in things],
        "thing_dataset_id_to_contiguous_id": thing_ids(vocabulary),
        "json_file": os.path.join(root, row.instances_json),
    }
