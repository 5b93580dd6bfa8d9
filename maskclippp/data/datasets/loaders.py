"""Loaders: a dataset row and the datasets root become records (detectron2 dicts); pictures are not opened here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode

from maskclippp.data.annotations import read_json
from maskclippp.data.datasets.category_names import check_lvis_names, check_names
from maskclippp.data.datasets.pairing import pair_files
from maskclippp.data.datasets.row import DatasetRow
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.data.instance_json import read_instances
from maskclippp.data.layouts import has_ending, too_deep
from maskclippp.data.vocabularies import Vocabulary
from maskclippp.utils.errors import UserError

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def load_records(row: DatasetRow, root: str) -> list[Record]:
    """Return the records of a dataset.

    Args:
        row: the dataset.
        root: datasets root.

    Returns:
        One dict per image: ``file_name`` and, by kind, ``sem_seg_file_name``; ``image_id``, ``pan_seg_file_name``,
        ``segments_info`` (contiguous ``category_id``, ``isthing``); or ``annotations`` (contiguous ``category_id``).

    Raises:
        UserError: a folder or file is missing or malformed; names the dataset, the path and the preparation command.
    """
    loaders = {
        "sem_seg": _load_semantic,
        "panoptic": _load_panoptic,
        "instance": _load_instances,
        "lvis": _load_lvis,
    }
    return loaders[row.kind](row, Path(root))


def _load_semantic(row: DatasetRow, root: Path) -> list[Record]:
    images = _existing(row, root / row.image_root, "folder of images")
    labels = _existing(row, root / row.sem_seg_root, "folder of label maps")
    if not any(has_ending(path, row.label_ext) for path in labels.iterdir()):
        raise _incomplete(row, f"no *.{row.label_ext} label map in {labels}")
    records = pair_files(images, labels, image_ext=row.image_ext, label_ext=row.label_ext)
    if not records:
        raise _incomplete(row, f"no label map in {labels} has the name of a *.{row.image_ext} in {images}")
    unlike = [
        record
        for record in records
        if _common_part(record["file_name"], row.image_ext) != _common_part(record["sem_seg_file_name"], row.label_ext)
    ]
    if unlike and row.described_in:
        first = unlike[0]
        raise _incomplete(
            row, f"{len(unlike)} pictures have no label map of their name, the first is {first['file_name']}"
        )
    if unlike:
        first = unlike[0]
        logger.warning(
            "%s: %d images are paired by position with label maps of another name, first %s with %s",
            row.name,
            len(unlike),
            first["file_name"],
            first["sem_seg_file_name"],
        )
    return records


def _load_panoptic(row: DatasetRow, root: Path) -> list[Record]:
    json_file = _existing(row, root / row.panoptic_json, "panoptic file")
    images = _existing(row, root / row.image_root, "folder of images")
    segments = _existing(row, root / row.panoptic_root, "folder of panoptic PNGs")
    labels = _existing(row, root / row.sem_seg_root, "folder of label maps") if row.sem_seg_root else None
    vocabulary = row_vocabulary(row)
    classes = {class_id: index for index, class_id in enumerate(vocabulary.ids)}
    content = read_json(json_file)
    if not row.described_in:
        check_names(content, vocabulary, json_file)
    records = []
    try:
        for annotation in content["annotations"]:
            image_id = annotation["image_id"]
            parts = {
                "stem": Path(annotation["file_name"]).stem,
                "id": image_id,
                "folder": str(image_id).split("_")[0],
            }
            records.append(
                {
                    "file_name": str(images / row.image_pattern.format(**parts)),
                    "image_id": image_id,
                    "pan_seg_file_name": str(segments / annotation["file_name"]),
                    **({"sem_seg_file_name": str(labels / row.sem_seg_pattern.format(**parts))} if labels else {}),
                    "segments_info": [
                        _segment(segment, classes, vocabulary.is_thing, f"{json_file}, image {image_id}")
                        for segment in annotation["segments_info"]
                    ],
                }
            )
    except (KeyError, TypeError) as error:
        raise UserError(f"{json_file}: not a COCO panoptic file, annotation {len(records)}: {error!r}") from error
    if not records:
        raise _incomplete(row, f"{json_file} has no annotations")
    for key in ("file_name", "pan_seg_file_name", "sem_seg_file_name"):
        if key in records[0]:
            _existing(row, Path(records[0][key]), "file")
    return records


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
    json_file = _existing(row, root / row.instances_json, "instance file")
    images = _existing(row, root / row.image_root, "folder of images")
    found = read_instances(json_file)
    if check is not None:
        check({"categories": found.categories}, row_vocabulary(row), json_file)
    if not found.images:
        raise _incomplete(row, f"{json_file} has no images")
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


def _common_part(path: str, ending: str) -> str:
    """Return what a picture and its label map have in common in their names."""
    name = Path(path).name
    return name[: -len(ending)].rstrip(".") if name.lower().endswith(ending.lower()) else name


def thing_ids(vocabulary: Vocabulary) -> dict[int, int]:
    """Return {dataset id: position among the things} of a vocabulary, as instance datasets number their classes."""
    ids = [class_id for class_id, thing in zip(vocabulary.ids, vocabulary.is_thing, strict=True) if thing]
    return {class_id: index for index, class_id in enumerate(ids)}


def _segment(segment: Record, classes: dict[int, int], is_thing: tuple[bool, ...], where: str) -> Record:
    category_id = segment["category_id"]
    if category_id not in classes:
        raise UserError(f"{where}: category_id {category_id} of segment {segment['id']} is not in the vocabulary")
    contiguous = classes[category_id]
    return {**segment, "category_id": contiguous, "isthing": is_thing[contiguous]}


def _existing(row: DatasetRow, path: Path, what: str) -> Path:
    if not path.exists():
        found = too_deep(path)
        hint = f" (it is one folder too deep, {found}: move it up)" if found else ""
        raise _incomplete(row, f"no {what} {path}{hint}")
    return path


def _incomplete(row: DatasetRow, found: str) -> UserError:
    return UserError(f"dataset '{row.name}': {found}; {row.remedy}")
