"""The form in which pycocotools and lvis take instances: numbered images, and boxes or masks but not both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycocotools import mask as coco_mask

from maskclippp.data.instance_json import InstanceFile


def number_images(found: InstanceFile) -> dict[int | str, int]:
    """Number the images of a file from 1 on, there and in its annotations; return the numbers by the ids it lists.

    Packages sort image ids, which texts beside numbers do not allow. The numbers keep the order of the ids, as
    detections of equal score rank by it.
    """
    ids = sorted((image["id"] for image in found.images), key=lambda listed: (isinstance(listed, str), listed))
    numbers = {listed: number for number, listed in enumerate(ids, start=1)}
    for image in found.images:
        image["id"] = numbers[image["id"]]
    for annotation in found.annotations:
        annotation["image_id"] = numbers[annotation["image_id"]]
    return numbers


def for_task(results: list[dict[str, Any]], task: str, numbers: Mapping[int | str, int]) -> list[dict[str, Any]]:
    """Return results for one task, with image numbers in place of ids.

    With a box present, masks would be sorted into sizes by the area of the box.
    """
    unused = "bbox" if task == "segm" else "segmentation"
    return [
        {key: value for key, value in result.items() if key != unused} | {"image_id": numbers[result["image_id"]]}
        for result in results
    ]


def with_mask_box(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result with the box of its mask, [x, y, width, height]."""
    return result | {"bbox": coco_mask.toBbox(result["segmentation"]).tolist()}
