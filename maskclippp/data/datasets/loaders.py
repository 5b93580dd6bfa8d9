"""Loaders: a dataset row and the datasets root become records (detectron2 dicts); pictures are not opened here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detectron2.data.datasets import load_coco_json
from detectron2.structures import BoxMode

from maskclippp.data.annotations import read_json
from maskclippp.data.datasets.completeness import Loaded, agreed, complete, existing, incomplete
from maskclippp.data.datasets.listing import load_label_maps, load_pictures, tell_unlisted
from maskclippp.data.datasets.panoptic_file import load_panoptic
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.data.names import set_names
from maskclippp.data.vocabularies import Vocabulary
from maskclippp.utils.errors import UserError

Record = dict[str, Any]


def load_records(row: DatasetRow, root: str, allow_incomplete: bool = False) -> list[Record]:
    """Return the records of a dataset.

    Args:
        row: the dataset.
        root: datasets root.
        allow_incomplete: a dataset of which something is missing will do, without it.

    Returns:
        One dict per image: ``file_name``, ``names`` (see :mod:`maskclippp.data.names`) and, by kind,
        ``sem_seg_file_name``; ``image_id``, ``pan_seg_file_name``, ``segments_info`` (contiguous ``category_id``,
        ``isthing``); or ``annotations`` (contiguous ``category_id``).

    Raises:
        UserError: a folder or file is missing or malformed; names the dataset, the path and the preparation command.
    """
    return agreed(row, load(row, root), allow_incomplete).records


def load(row: DatasetRow, root: str) -> Loaded:
    """Return the records whose files are there, and what is missing; see :func:`load_records`."""
    loaded = complete(row, load_listed(row, root))
    if row.described_in and row.kind in ("panoptic", "instance"):
        tell_unlisted(row, loaded, Path(root))
    return loaded


def load_listed(row: DatasetRow, root: str) -> Loaded:
    """Return the records of all pictures that are listed, whether or not their files are there."""
    loaders = {
        "sem_seg": load_label_maps,
        "panoptic": load_panoptic,
        "instance": _load_instances,
        "lvis": _load_lvis,
        "images": load_pictures,
    }
    found = loaders[row.kind](row, Path(root))
    loaded = found if isinstance(found, Loaded) else Loaded(found, len(found))
    lists = row.panoptic_json or row.instances_json or row.name
    set_names(loaded.records, str(Path(root) / row.image_root), str(Path(root) / lists))
    return loaded


def _load_instances(row: DatasetRow, root: Path) -> list[Record]:
    json_file = existing(row, root / row.instances_json, "instance file")
    images = existing(row, root / row.image_root, "folder of images")
    classes = thing_ids(row_vocabulary(row))
    try:
        records = load_coco_json(str(json_file), str(images))
    except (KeyError, TypeError, AssertionError, json.JSONDecodeError) as error:
        raise UserError(f"{json_file}: not a COCO instance file: {error!r}") from error
    if not records:
        raise incomplete(row, f"{json_file} has no images")
    for record in records:
        for annotation in record["annotations"]:
            category_id = annotation["category_id"]
            if category_id not in classes:
                where = f"{json_file}, image {record['image_id']}"
                raise UserError(f"{where}: category_id {category_id} is not a thing of vocabulary '{row.vocabulary}'")
            annotation["category_id"] = classes[category_id]
    return records


def _load_lvis(row: DatasetRow, root: Path) -> list[Record]:
    """Return the records of an LVIS v1 file; the folder of a picture is told by its ``coco_url``.

    Raises:
        UserError: no file, or a malformed one.
    """
    json_file = existing(row, root / row.instances_json, "instance file")
    images = existing(row, root / row.image_root, "folder of images")
    classes = {class_id: index for index, class_id in enumerate(row_vocabulary(row).ids)}
    content = read_json(json_file)
    try:
        found = {image["id"]: _lvis_record(image, images) for image in content["images"]}
        for annotation in content["annotations"]:
            where = f"{json_file}, annotation {annotation['id']}"
            if annotation["category_id"] not in classes:
                raise UserError(f"{where}: category_id {annotation['category_id']} is not in the vocabulary")
            if annotation["image_id"] not in found:
                raise UserError(f"{where}: image_id {annotation['image_id']} is not among the images")
            found[annotation["image_id"]]["annotations"].append(
                {
                    "bbox": annotation["bbox"],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": classes[annotation["category_id"]],
                    "segmentation": annotation["segmentation"],
                    "iscrowd": 0,
                }
            )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{json_file}: not an LVIS v1 file: {error!r}") from error
    if not found:
        raise incomplete(row, f"{json_file} has no images")
    return [found[image_id] for image_id in sorted(found)]


def _lvis_record(image: Record, images: Path) -> Record:
    folder, name = image["coco_url"].split("/")[-2:]
    return {
        "file_name": str(images / folder / name),
        "height": image["height"],
        "width": image["width"],
        "image_id": image["id"],
        "not_exhaustive_category_ids": image.get("not_exhaustive_category_ids", []),
        "neg_category_ids": image.get("neg_category_ids", []),
        "annotations": [],
    }


def thing_ids(vocabulary: Vocabulary) -> dict[int, int]:
    """Return {dataset id: position among the things} of a vocabulary, as instance datasets number their classes."""
    ids = [class_id for class_id, thing in zip(vocabulary.ids, vocabulary.is_thing, strict=True) if thing]
    return {class_id: index for index, class_id in enumerate(ids)}
