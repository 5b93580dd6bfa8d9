"""Which image of an instance file a record shows, and the file without the images that nobody showed."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Collection, Sequence
from typing import Any

from maskclippp.data.instance_json import image_key
from maskclippp.data.names import NameIndex, own_names
from maskclippp.utils.errors import UserError

logger = logging.getLogger(__name__)


class InstanceImages:
    """The images of an instance file, found by records.

    Panoptic and instance files of a dataset may number its images differently, so the name counts first: the path below
    the folder of images. Where the file does not tell the name of an image, its id does.

    Args:
        images: of the file in normal form (:mod:`maskclippp.data.instance_json`), before they are numbered.
        json_file: for messages.
    """

    def __init__(self, images: Sequence[dict[str, Any]], json_file: str) -> None:
        self._json_file = json_file
        self._listed = {image_key(image["id"]): image["id"] for image in images}
        self._names = {image_key(image["id"]): image.get("file_name", "") for image in images}
        self._keys = {name: key for key, name in self._names.items() if name}
        self._index = NameIndex(self._keys, json_file)

    def find(self, record: dict[str, Any]) -> int | str:
        """Return the id of a record's image as the file lists it.

        Raises:
            UserError: the file has no such image.
        """
        key = image_key(record.get("image_id"))
        if self._names.get(key) not in ("", own_names(record)[0]):
            name = self._index.find(record)
            if name is None:
                found = f"{self._json_file} has no such image"
                raise UserError(f"{record['file_name']}: {found}; make the two files together")
            key = self._keys[name]
        return self._listed[key]


def without_others(truth: Any, shown: Collection[Any], json_file: str) -> Any:
    """Return a ground truth with the shown images only, and say how many others it has; they were not evaluated.

    Args:
        truth: of pycocotools or lvis.
        shown: image ids in its numbering.
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
