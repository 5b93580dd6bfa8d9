"""Registration of the datasets with detectron2's catalogs: one call, safe to repeat, no file is touched."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from maskclippp.data.datasets.custom import custom_row, is_custom
from maskclippp.data.datasets.loaders import load_records, thing_ids
from maskclippp.data.datasets.mess import is_mess
from maskclippp.data.datasets.palette import row_colors
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.datasets.table import DATASETS
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.utils.errors import UserError, did_you_mean

LABEL_DIVISOR = 1000

_registered_roots: dict[str, str] = {}


def register_all(root: str | None = None) -> None:
    """Register every dataset of the table; a repeated call with another root moves them there.

    The metadata of MESS datasets, whose class names come from another package, are made by :func:`get_metadata`.

    Args:
        root: datasets root; by default the environment variable DETECTRON2_DATASETS, else ``datasets``; ``~`` works.
    """
    root = os.path.expanduser(root or os.environ.get("DETECTRON2_DATASETS") or "datasets")
    for row in DATASETS.values():
        if _registered_roots.get(row.name) == root and row.name in DatasetCatalog:
            continue
        if row.name in DatasetCatalog:
            DatasetCatalog.remove(row.name)
            MetadataCatalog.pop(row.name, None)
        DatasetCatalog.register(row.name, partial(load_records, row, root))
        _registered_roots[row.name] = root
        if not is_mess(row):
            MetadataCatalog.get(row.name).set(**_metadata(row, root))


def get_dataset(name: str) -> list[dict[str, Any]]:
    """Return the records of a registered dataset.

    Raises:
        UserError: unknown name, or files that are missing or malformed.
    """
    get_metadata(name)
    if name not in DatasetCatalog:
        raise UserError(f"dataset '{name}' is registered with class names only; register its files as well")
    if name in DATASETS or is_custom(name):
        return DatasetCatalog.get(name)
    try:
        return DatasetCatalog.get(name)
    except (OSError, AssertionError, ImportError, KeyError) as error:
        # Another package has registered it, as detectron2 does; its loader knows no remedy.
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(
            f"dataset '{name}' is none of ours, and its files cannot be read ({reason}); put them below the folder "
            f"that DETECTRON2_DATASETS names before the start{did_you_mean(name, DATASETS)}"
        ) from None


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
    DatasetCatalog.register(name, partial(load_records, row, ""))
    MetadataCatalog.get(name).set(**_metadata(row, ""))


def _metadata(row: DatasetRow, root: str) -> dict[str, Any]:
    common = {"evaluator_type": row.evaluator_type, "image_root": os.path.join(root, row.image_root)}
    if row.kind in ("instance", "lvis"):
        return common | _instance_metadata(row, root)
    vocabulary = row_vocabulary(row)
    ids = range(len(vocabulary)) if row.labels_are_ids else vocabulary.ids
    contiguous = {class_id: index for index, class_id in enumerate(ids)}
    if row.stuff_ids_of_stuff_only:
        contiguous = {class_id: index for class_id, index in contiguous.items() if not vocabulary.is_thing[index]}
    common |= {
        "stuff_classes": vocabulary.class_entries,
        "stuff_colors": row_colors(row, vocabulary),
        "stuff_dataset_id_to_contiguous_id": contiguous,
        "thing_dataset_id_to_contiguous_id": {},
        "sem_seg_root": os.path.join(root, row.sem_seg_root),
        "gt_ext": row.label_ext,
        "ignore_label": row.ignore_label,
    }
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
