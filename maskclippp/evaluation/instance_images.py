"""Which image of an instance file a record shows, and the file without the images that nobody showed."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from maskclippp.data.names import NameIndex, own_names
from maskclippp.utils.errors import UserError

logger = logging.getLogger(__name__)


class InstanceImages:
    """The images of an instance file, found by records.

    Panoptic and instance files of a dataset may number its images differently, so the name counts first: the path below
    the folder of images. Where the file does not tell the name of an image, its id does.

    Args:
        images: "images" of the file, dicts with "id" and perhaps "file_name".
        json_file: for messages.
    """

    def __init__(self, images: Sequence[dict[str, Any]], json_file: str) -> None:
        self._json_file = json_file
        self._names = {image["id"]: str(image.get("file_name") or "") for image in images}
        self._ids: dict[str, list[Any]] = defaultdict(list)
        for image_id, name in self._names.items():
            self._ids[name].append(image_id)
        self._index = NameIndex(filter(None, self._ids), json_file)
        self._by_text = {str(image_id): image_id for image_id in self._names}

    def find(self, record: dict[str, Any]) -> Any:
        """Return the id of a record's image.

        Raises:
            UserError: the file has no such image, or several.
        """
        image_id = record.get("image_id")
        if image_id not in self._names:  # one file may have the number, the other its text
            image_id = self._by_text.get(str(image_id), image_id)
        if image_id in self._names and self._names[image_id] in ("", own_names(record)[0]):
            return image_id
        name = self._index.find(record)
        if name is None:
            raise UserError(f"{record['file_name']}: {self._json_file} has no such image; make the two files together")
        ids = self._ids[name]
        if image_id not in ids and len(ids) > 1:
            raise UserError(f"{record['file_name']}: {self._json_file} has several images of this name, ids {ids[:5]}")
        return image_id if image_id in ids else ids[0]


def without_others(truth: Any, shown: Collection[Any], json_file: str) -> Any:
    """Return a ground truth with the shown images only, and say how many others it has; they were not evaluated.

    Args:
        truth: of pycocotools or lvis.
        shown: image ids.
        json_file: for messages.
    """
    images = truth.dataset["images"]
    kept = [image for image in images if image["id"] in shown]
    if len(kept) == len(images):
        return truth
    logger.warning("%s: only %d of its %d images were evaluated; AP is of these", json_file, len(kept), len(images))
    part = copy.copy(truth)
    annotations = [entry for entry in truth.dataset["annotations"] if entry["image_id"] in shown]
    part.dataset = {**truth.dataset, "images": kept, "annotations": annotations}
    make_index = part.createIndex if hasattr(part, "createIndex") else part._create_index
    with contextlib.redirect_stdout(io.StringIO()):
        make_index()
    return part
