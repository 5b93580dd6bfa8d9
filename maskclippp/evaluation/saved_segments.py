"""Panoptic predictions as files in COCO's format, named after the pictures."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.data.names import output_name
from maskclippp.data.vocabularies import split_synonyms
from maskclippp.utils.files import atomic_write

Record = dict[str, Any]


def save_segments(
    folder: str | Path,
    record: Record,
    ids: np.ndarray,
    segments: Sequence[dict[str, Any]],
    dataset_ids: Sequence[int] | Mapping[int, int],
) -> dict[str, Any]:
    """Write ``panoptic_predictions/<picture>.png`` and return its annotation in COCO's format.

    Args:
        folder: of the results.
        record: of the picture.
        ids: (H, W) segment ids, 0 for none.
        segments: with "id" and contiguous "category_id".
        dataset_ids: id of each class in the files that are written.
    """
    name = f"{output_name(record)}.png"
    channels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
    with atomic_write(Path(folder, "panoptic_predictions", name)) as path:
        Image.fromarray(channels).save(path)
    infos = [{"id": int(segment["id"]), "category_id": dataset_ids[segment["category_id"]]} for segment in segments]
    return {"image_id": record.get("image_id", output_name(record)), "file_name": name, "segments_info": infos}


def saved_categories(
    class_names: Sequence[str], dataset_ids: Sequence[int], thing_ids: Collection[int]
) -> list[dict[str, Any]]:
    """Return the categories that belong to the annotations of :func:`save_segments`.

    Args:
        class_names: K class entries; the first synonym counts.
        dataset_ids: id of each class in the files that are written.
        thing_ids: contiguous ids of the things.
    """
    return [
        {"id": number, "name": split_synonyms(entry)[0], "isthing": int(index in thing_ids)}
        for index, (number, entry) in enumerate(zip(dataset_ids, class_names, strict=True))
    ]


def save_annotations(
    folder: str | Path, annotations: Sequence[dict[str, Any]], categories: Sequence[dict[str, Any]]
) -> None:
    """Write ``predictions.json``, the annotations of :func:`save_segments` in the order of their names."""
    ordered = sorted(annotations, key=lambda annotation: annotation["file_name"])
    with atomic_write(Path(folder, "predictions.json")) as path:
        path.write_text(json.dumps({"annotations": ordered, "categories": categories}) + "\n", encoding="utf-8")
