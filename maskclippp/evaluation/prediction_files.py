"""Predictions as files, named after the pictures: label maps, panoptic PNGs, instances in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.data.names import output_name
from maskclippp.utils.files import atomic_write

Record = dict[str, Any]


def save_label_map(folder: str | Path, record: Record, labels: np.ndarray, num_classes: int) -> None:
    """Write ``sem_seg_predictions/<picture>.png``, below folders as the picture is.

    Args:
        folder: of the results.
        record: of the picture.
        labels: (H, W) class ids.
        num_classes: K.
    """
    dtype = np.uint8 if num_classes < 256 else np.uint16
    with atomic_write(Path(folder, "sem_seg_predictions", f"{output_name(record)}.png")) as path:
        Image.fromarray(labels.astype(dtype)).save(path)


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


def save_annotations(folder: str | Path, annotations: Sequence[dict[str, Any]]) -> None:
    """Write ``predictions.json``, the annotations of :func:`save_segments` in the order of their names."""
    ordered = sorted(annotations, key=lambda annotation: annotation["file_name"])
    with atomic_write(Path(folder, "predictions.json")) as path:
        path.write_text(json.dumps({"annotations": ordered}) + "\n", encoding="utf-8")
