"""Loaders: a dataset row and the datasets root become records (detectron2 dicts); pictures are not opened here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode

from maskclippp.utils.errors import UserError

from ..instance_json import read_instances
from ..names import set_names
from ..vocabularies import Vocabulary
from .category_names import check_lvis_names, check_names
from .completeness import Loaded, agreed, complete, existing, incomplete
from .listing import load_label_maps, load_pictures, tell_unlisted
from .panoptic_file import load_panoptic
from .row import DatasetRow
from .vocabulary import row_vocabulary

logger = logging.getLogger(__name__)

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
    classes = thing_ids(row_vocabulary(row))
    odd_class = f"is not a thing of vocabulary '{row.vocabulary}'"
    return _instance_records(row, root, classes, _coco_picture, odd_class, None if row.described_in else check_names)


def _load_lvis(row: DatasetRow, root: Path) -> list[Record]:
    """Return the records of an LVIS v1 file; the folder of a picture is told by its ``coco_url``."""
    classes = {class_id: index for index, class_id in enumerate(row_vocabulary(row).ids)}
    return _instance_records(row, root, classes, _lvis_picture, "is not in the vocabulary", check_lvis_names)


def _instance_records(
    row: DatasetRow,
    root: Path,
    classes: dict[int, int],
    picture: Callable[[Record], Record],
    odd_class: str,
    check: Callable[[Any, Vocabulary, Path], None] | None,
) -> list[Record]:
    """Return the records of an instance file in the order of image ids.

    Args:
        row: the dataset.
        root: datasets root.
        classes: {category id: contiguous id}.
        picture: image entry -> ``file_name`` below the folder of images, and what else the record holds.
        odd_class: what is said about other categories.
        check: compares the names of the categories with those of the vocabulary.

    Raises:
        UserError: no file, or a wrong one.
    """
    json_file = existing(row, root / row.instances_json, "instance file")
    images = existing(row, root / row.image_root, "folder of images")
    found = read_instances(json_file)
    if check is not None:
        check({"categories": found.categories}, row_vocabulary(row), json_file)
    if not found.images:
        raise incomplete(row, f"{json_file} has no images")
    if found.left_out:
        logger.warning("%s: %s: %s", row.name, json_file, found.left_out)
    by_image, records = found.annotations_by_image(), []
    for image in sorted(found.images, key=lambda image: (isinstance(image["id"], str), image["id"])):
        annotations = by_image.get(image["id"], [])
        odd = next((entry["category_id"] for entry in annotations if entry["category_id"] not in classes), None)
        if odd is not None:
            raise UserError(f"{json_file}, image {image['id']}: category_id {odd} {odd_class}")
        try:
            told = picture(image)
        except (KeyError, AttributeError, ValueError) as error:
            raise UserError(f"{json_file}, image {image['id']}: it does not name its picture: {error!r}") from error
        records.append(
            {
                **told,
                "file_name": str(images / told["file_name"]),
                "height": image["height"],
                "width": image["width"],
                "image_id": image["id"],
                "annotations": [_instance(entry, classes) for entry in annotations],
            }
        )
    return records


def _coco_picture(image: Record) -> Record:
    return {"file_name": image["file_name"]}


def _lvis_picture(image: Record) -> Record:
    folder, name = image["coco_url"].split("/")[-2:]
    return {
        "file_name": f"{folder}/{name}",
        "not_exhaustive_category_ids": image.get("not_exhaustive_category_ids", []),
        "neg_category_ids": image.get("neg_category_ids", []),
    }


def _instance(annotation: Record, classes: dict[int, int]) -> Record:
    """Return an annotation as detectron2's records have them."""
    kept = {key: annotation[key] for key in ("iscrowd", "bbox", "segmentation")}
    return kept | {"category_id": classes[annotation["category_id"]], "bbox_mode": BoxMode.XYWH_ABS}


def thing_ids(vocabulary: Vocabulary) -> dict[int, int]:
    """Return {dataset id: position among the things} of a vocabulary, as instance datasets number their classes."""
    ids = [class_id for class_id, thing in zip(vocabulary.ids, vocabulary.is_thing, strict=True) if thing]
    return {class_id: index for index, class_id in enumerate(ids)}
