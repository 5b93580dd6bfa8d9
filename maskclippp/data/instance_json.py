"""The only reader of instance files in COCO's and LVIS' form: one normal form, or one line that says what is wrong.

What has a natural value is filled in, what detectron2's loader leaves out is left out and counted, everything else is
refused before pycocotools sees it.
"""

from __future__ import annotations

import logging
import posixpath
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskclippp.utils.errors import UserError, show

from .annotations import read_json
from .images import MAX_PIXELS
from .polygons import check_coordinates
from .segmentations import checked_segmentation, segmentation_measures

logger = logging.getLogger(__name__)

Entry = dict[str, Any]

_MAX_DIGITS = 18
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class InstanceFile:
    """An instance file in normal form; unknown keys are left as they are.

    Attributes:
        path: the file.
        images: ``id`` (whole number or text, as listed) and ``height``, ``width`` (above 0); ``file_name``, if it is
            there, is a text. In the order of the file.
        annotations: in the order of the file, numbered (``id``) from 1 on; ``image_id`` and ``category_id`` are ids of
            ``images`` and ``categories``; ``iscrowd`` 0 or 1; ``segmentation`` polygons of three points or more or
            run lengths that fill the picture; ``area`` and ``bbox`` [x, y, width, height].
        categories: ``id`` is a whole number.
        left_out: what was left out, in words; "" if nothing was.
    """

    path: Path
    images: list[Entry]
    annotations: list[Entry]
    categories: list[Entry]
    left_out: str

    def annotations_by_image(self) -> dict[int | str, list[Entry]]:
        """Return the annotations of each image that has some, by its id."""
        found = defaultdict(list)
        for annotation in self.annotations:
            found[annotation["image_id"]].append(annotation)
        return dict(found)


def read_instances(path: str | Path) -> InstanceFile:
    """Read an instance file.

    Ids match if they are the same whole number, be it written as 7, 7.0 or "7"; image ids may be any text.

    Args:
        path: JSON file with the lists ``images``, ``annotations`` and ``categories``.

    Raises:
        UserError: not such a file; an entry that is wrong, with its list and index: ids that are missing, listed twice
            or unknown, sizes, masks that are missing or do not belong to the picture, coordinates, areas.
    """
    content = read_json(path)
    lists = {key: content.get(key) if isinstance(content, dict) else None for key in _LISTS}
    for key, entries in lists.items():
        if not isinstance(entries, list):
            raise UserError(f"{path}: not a COCO instance file: it has no list '{key}'")
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise UserError(f"{path}, {key}[{index}]: {show(entry)} in place of an entry {{...}}")
    categories = list(categories_by_id(content, path).values())
    images = _images(lists["images"], path)
    annotations, left_out = _annotations(lists["annotations"], images, {entry["id"] for entry in categories}, path)
    return InstanceFile(Path(path), lists["images"], annotations, categories, left_out)


def categories_by_id(content: Any, path: str | Path) -> dict[int, Entry]:
    """Return the categories of a COCO file by id, in the order of ids; ids become whole numbers.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        UserError: no list of categories, an empty one, ids that are missing, no whole numbers, or listed twice.
    """
    entries = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"{path}: not a COCO file: it has no list of 'categories' with ids")
    if not entries:
        raise UserError(f"{path}: its list of categories is empty")
    places: dict[int, int] = {}
    for index, entry in enumerate(entries):
        where = f"{path}, categories[{index}]"
        class_id = whole_number(entry.get("id")) if isinstance(entry, dict) else None
        if class_id is None:
            found = show(entry.get("id") if isinstance(entry, dict) else entry)
            raise UserError(f"{where}: its 'id' is {found}; expected a whole number")
        if class_id in places:
            raise UserError(f"{where}: id {class_id} is also that of categories[{places[class_id]}]; ids must differ")
        places[class_id] = index
        entry["id"] = class_id
    return {class_id: entries[places[class_id]] for class_id in sorted(places)}


def whole_number(value: Any) -> int | None:
    """Return the whole number that 7, 7.0 or "7" stand for; None for anything else."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and value.isascii():
        return int(value) if value.removeprefix("-").isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if type(value) is int else None


def image_key(value: Any) -> int | str | None:
    """Return what tells an image id from others: 7 for 7, 7.0, "7" and "007", else the text; None if it is no id."""
    number = whole_number(value)
    return value if number is None and isinstance(value, str) and value else number


def _images(entries: Iterable[Entry], path: str | Path) -> dict[int | str, Entry]:
    """Bring the images into normal form; return them by what tells their ids apart."""
    found: dict[int | str, Entry] = {}
    places: dict[int | str, int] = {}
    names: dict[str, int] = {}
    for index, image in enumerate(entries):
        where = f"{path}, images[{index}]"
        key = image_key(image.get("id"))
        if key is None:
            raise UserError(f"{where}: its 'id' is {show(image.get('id'))}; expected a whole number or a text")
        if key in found:
            first = f"images[{places[key]}] ({show(found[key]['id'])})"
            raise UserError(f"{where}: id {show(image['id'])} is also that of {first}; ids must differ")
        _check_name(image, index, names, where)
        if isinstance(image["id"], float):
            image["id"] = key
        image["height"], image["width"] = (_side(image, side, where) for side in ("height", "width"))
        if image["height"] * image["width"] > MAX_PIXELS:
            size = f"{image['height']}x{image['width']}"
            raise UserError(f"{where}: {size} (height x width) are more than {MAX_PIXELS} pixels")
        found[key], places[key] = image, index
    return found


def _check_name(image: Entry, index: int, names: dict[str, int], where: str) -> None:
    """Check the name of a picture, if there is one; ``names`` holds those before it and their places."""
    if "file_name" not in image:
        return
    name = image["file_name"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise UserError(f"{where}: its 'file_name' is {show(name)}; expected the name of a picture")
    place = posixpath.normpath(name)
    if names.setdefault(place, index) != index:
        raise UserError(f"{where}: its picture {show(name)} is also that of images[{names[place]}]; list it once")


def _side(image: Entry, side: str, where: str) -> int:
    value = image.get(side)
    number = None if isinstance(value, str) else whole_number(value)
    if number is None or not 0 < number <= MAX_PIXELS:
        raise UserError(f"{where}: its '{side}' is {show(value)}; expected a whole number of pixels above 0")
    return number


def _annotations(
    entries: Iterable[Entry], images: dict[int | str, Entry], categories: set[int], path: str | Path
) -> tuple[list[Entry], str]:
    """Bring the annotations into normal form; return them and what was left out, in words."""
    kept: list[Entry] = []
    polygons, emptied = 0, []
    for index, annotation in enumerate(entries):
        where = f"{path}, annotations[{index}]"
        image = images.get(image_key(annotation.get("image_id")))
        if image is None:
            raise UserError(f"{where}: {_unknown(annotation, 'image_id')} is not among the images of the file")
        category = whole_number(annotation.get("category_id"))
        if category not in categories:
            raise UserError(f"{where}: {_unknown(annotation, 'category_id')} is not among the categories of the file")
        size_hw = (image["height"], image["width"])
        shape, lacking = checked_segmentation(annotation.get("segmentation"), size_hw, where)
        polygons += lacking
        if not shape:  # only polygons can be left out
            emptied.append(index)
            continue
        kept.append(annotation)
        annotation |= {"id": len(kept), "image_id": image["id"], "category_id": category, "segmentation": shape}
        annotation["iscrowd"] = _crowd(annotation, where)
        _measure(annotation, size_hw, where)
    if not polygons:
        return kept, ""
    left_out = f"left out {polygons} polygons that have fewer than three points or an odd number of values"
    if emptied:
        left_out += f", and with them {len(emptied)} annotations that have no others, first annotations[{emptied[0]}]"
    return kept, left_out


def _unknown(annotation: Entry, key: str) -> str:
    return f"{key} {show(annotation[key])}" if key in annotation else f"its {key} is missing and so it"


def _crowd(annotation: Entry, where: str) -> int:
    if annotation.get("ignore"):
        raise UserError(f"{where}: 'ignore' is not supported; use 'iscrowd' or remove the annotation")
    value = annotation.get("iscrowd")
    number = int(value or 0) if value is None or isinstance(value, bool) else whole_number(value)
    if number not in (0, 1):
        raise UserError(f"{where}: its 'iscrowd' is {show(value)}; expected 0 or 1")
    return number


def _measure(annotation: Entry, size_hw: tuple[int, int], where: str) -> None:
    """Check ``area`` and ``bbox``, or take them from the mask."""
    area, box = annotation.get("area"), annotation.get("bbox")
    if area is None or box is None:
        pixels, tight = segmentation_measures(annotation["segmentation"], size_hw, where)
        area, box = pixels if area is None else area, tight if box is None else box
    largest = (3 * max(size_hw)) ** 2
    if type(area) not in (int, float) or not 0 <= area <= largest:  # NaN is outside
        found = f"its 'area' is {show(area)}"
        raise UserError(f"{where}: {found}; expected a number of pixels from 0 on that fits its picture")
    if not isinstance(box, list) or len(box) != 4:
        raise UserError(f"{where}: its 'bbox' is {show(box)}; expected [x, y, width, height]")
    check_coordinates(box, size_hw, f"{where}, bbox")
    if min(box[2:]) < 0:
        raise UserError(f"{where}: its 'bbox' {box} has a negative side; expected [x, y, width, height]")
    annotation["area"], annotation["bbox"] = area, box
