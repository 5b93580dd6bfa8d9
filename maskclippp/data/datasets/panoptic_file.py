"""Records of a COCO panoptic file: which picture, PNG and label map belong to each annotation."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError, show

from ..annotations import read_json
from ..panoptic_segments import check_segments
from .category_names import check_names
from .completeness import Loaded, existing, incomplete
from .row import DatasetRow
from .vocabulary import row_vocabulary

Record = dict[str, Any]
Annotation = dict[str, Any]

logger = logging.getLogger(__name__)


def load_panoptic(row: DatasetRow, root: Path) -> Loaded:
    """Return the records of a panoptic dataset.

    The picture of an annotation is what ``images`` of the file calls ``file_name`` under its image id, below the folder
    of images. Where the row has a pattern, or the file no such name, the name of the PNG tells it.

    Raises:
        UserError: a folder or file is missing, or the file is wrong; names the annotation.
    """
    json_file = existing(row, root / row.panoptic_json, "panoptic file")
    images = existing(row, root / row.image_root, "folder of images")
    segments = existing(row, root / row.panoptic_root, "folder of panoptic PNGs")
    content = read_json(json_file)
    if not row.described_in:
        check_names(content, row_vocabulary(row), json_file)
    annotations = _annotations(content, row, json_file)
    if not annotations:
        raise incomplete(row, f"{json_file} has no annotations")
    pictures = _pictures(content, json_file)
    candidates = _picture_names(row, annotations, pictures, json_file)
    names = _best(images, candidates)
    records = []
    for index, (annotation, name) in enumerate(zip(annotations, names, strict=True)):
        where = f"{json_file}, annotation {index}"
        records.append(
            {
                "file_name": str(images / below(name, where)),
                "image_id": annotation["image_id"],
                "pan_seg_file_name": str(segments / below(annotation["file_name"], where)),
                "segments_info": annotation["segments_info"],
            }
        )
    _refuse_shared_files(records, json_file)
    if row.sem_seg_root:
        labels = existing(row, root / row.sem_seg_root, "folder of label maps")
        for record, name in zip(records, _best(labels, _label_names(row, annotations, names)), strict=True):
            record["sem_seg_file_name"] = str(labels / below(name, str(json_file)))
    without = pictures.keys() - {annotation["image_id"] for annotation in annotations}
    gaps = []
    if without:
        first = next(image_id for image_id in pictures if image_id in without)
        gaps.append(f"{len(without)} of {len(pictures)} images of {json_file} have no annotation, first image {first}")
    return Loaded(records, len(records) + len(without), tuple(gaps))


def _refuse_shared_files(records: Sequence[Record], json_file: Path) -> None:
    """Raise UserError if two annotations have one picture or one PNG: one of them is another picture's."""
    for key, what in (("file_name", "picture"), ("pan_seg_file_name", "PNG")):
        first: dict[str, int] = {}
        for index, record in enumerate(records):
            other = first.setdefault(os.path.normpath(record[key]), index)
            if other != index:
                raise UserError(
                    f"{json_file}, annotation {index}: its {what} {record[key]} is also that of annotation {other}; "
                    "give each its own"
                )


def below(name: str, where: str) -> str:
    """Return the path of a file below a folder.

    Raises:
        UserError: it is absolute or leads out of the folder.
    """
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == ".." or "\0" in name:
        raise UserError(f"{where}: file_name {show(name)} leaves its folder; give the path below it")
    return name


def _annotations(content: Any, row: DatasetRow, json_file: Path) -> list[Annotation]:
    """The annotations with contiguous categories.

    Raises:
        UserError: they are wrong.
    """
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise UserError(f"{json_file}: not a COCO panoptic file: it has no list 'annotations'")
    vocabulary = row_vocabulary(row)
    classes = {class_id: index for index, class_id in enumerate(vocabulary.ids)}
    first: dict[Any, int] = {}
    checked = []
    for index, annotation in enumerate(content["annotations"]):
        where = f"{json_file}, annotation {index}"
        _check_annotation(annotation, where)
        image_id = annotation["image_id"]
        if image_id in first:
            raise UserError(
                f"{where}: image {show(image_id)} has an annotation already, {first[image_id]}; join the two"
            )
        first[image_id] = index
        check_segments(annotation["segments_info"], classes, f"{where}, image {image_id}")
        infos = [_contiguous(segment, classes, vocabulary.is_thing) for segment in annotation["segments_info"]]
        checked.append({**annotation, "segments_info": infos})
    return checked


def _check_annotation(annotation: Any, where: str) -> None:
    if not isinstance(annotation, dict):
        raise UserError(f"{where}: must be a dict, not {type(annotation).__name__}")
    for key in ("image_id", "file_name", "segments_info"):
        if key not in annotation:
            raise UserError(f"{where}: '{key}' is missing")
    if not _is_id(annotation["image_id"]):
        raise UserError(f"{where}: image_id must be a whole number or a text, it is {show(annotation['image_id'])}")
    if not isinstance(annotation["file_name"], str) or not annotation["file_name"]:
        raise UserError(f"{where}: file_name must be the name of the PNG, it is {show(annotation['file_name'])}")


def _contiguous(segment: Record, classes: dict[int, int], is_thing: Sequence[bool]) -> Record:
    category = classes[segment["category_id"]]
    told = {key: value for key, value in segment.items() if value is not None}
    return {**told, "category_id": category, "isthing": is_thing[category]}


def _pictures(content: dict[str, Any], json_file: Path) -> dict[Any, str | None]:
    """Return {image id: file name, None if the file does not tell}, empty without a list of images."""
    images = content.get("images", [])
    if not isinstance(images, list):
        raise UserError(f"{json_file}: 'images' must be a list, not {type(images).__name__}")
    found: dict[Any, str | None] = {}
    for index, image in enumerate(images):
        where = f"{json_file}, image {index} of 'images'"
        if not isinstance(image, dict) or not _is_id(image.get("id")):
            raise UserError(f"{where}: it has no 'id', which must be a whole number or a text")
        if image["id"] in found:
            raise UserError(f"{where}: id {show(image['id'])} is listed twice")
        name = image.get("file_name")
        if name is not None and not isinstance(name, str):
            raise UserError(f"{where}: file_name must be a text, it is {show(name)}")
        found[image["id"]] = name or None
    return found


def _picture_names(
    row: DatasetRow, annotations: list[Annotation], pictures: dict[Any, str | None], json_file: Path
) -> list[list[str]]:
    """Return ways to name the pictures of all annotations, the best first."""
    if row.image_pattern:
        return [[_filled(row.image_pattern, annotation) for annotation in annotations]]
    by_png = [f"{os.path.splitext(annotation['file_name'])[0]}.{row.image_ext}" for annotation in annotations]
    if not pictures:
        return [by_png]
    told = []
    for index, (annotation, name) in enumerate(zip(annotations, by_png, strict=True)):
        if annotation["image_id"] not in pictures:
            raise UserError(
                f"{json_file}, annotation {index}: image_id {show(annotation['image_id'])} is not among 'images' "
                "(a number and a text are not the same)"
            )
        told.append(pictures[annotation["image_id"]] or name)
    # Some published files call their pictures otherwise than the archive with the pictures does.
    return [told] if row.described_in else [told, by_png]


def _label_names(row: DatasetRow, annotations: list[Annotation], pictures: list[str]) -> list[list[str]]:
    """Return ways to name the label maps: after the pictures, or after the PNGs."""
    if row.sem_seg_pattern:
        return [[_filled(row.sem_seg_pattern, annotation) for annotation in annotations]]
    ending = row.label_ext if row.label_ext[0] in "._-" else f".{row.label_ext}"
    after_pictures = []
    for name in pictures:
        own_ending = row.image_ext if name.endswith(row.image_ext) else os.path.splitext(name)[1]
        after_pictures.append(name.removesuffix(own_ending).rstrip(".") + ending)
    return [after_pictures, [os.path.splitext(annotation["file_name"])[0] + ending for annotation in annotations]]


def _filled(pattern: str, annotation: Annotation) -> str:
    """Put the parts of an annotation into a pattern of a row."""
    image_id = annotation["image_id"]
    return pattern.format(id=image_id, folder=str(image_id).split("_")[0])


def _best(folder: Path, ways: list[list[str]]) -> list[str]:
    """Return the names by which most files are there: one way for all, else two pictures could share a file."""
    if len(ways) == 1:
        return ways[0]
    listings: dict[str, set[str]] = {}

    def there(name: str) -> bool:
        parent, base = os.path.split(os.path.join(folder, name))
        if parent not in listings:
            listings[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
        return base in listings[parent]

    counts = [sum(map(there, names)) for names in ways]
    return ways[counts.index(max(counts))]


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)
