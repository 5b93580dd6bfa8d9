"""A sheet of samples of a dataset: each picture beside its labels, with the names of the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.catalog import Metadata
from matplotlib.figure import Figure
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from maskclippp.utils.files import atomic_write

from ..annotations import read_label_map, read_panoptic_ids
from ..images import read_image
from ..segmentations import segmentation_mask
from ..vocabularies import split_synonyms

Record = dict[str, Any]

_OPACITY = 0.6
_NAMED = 10
_NAME_LENGTH = 18


def draw_sheet(path: str | Path, records: Sequence[Record], metadata: Metadata, count: int) -> None:
    """Draw some samples, spread evenly over a dataset.

    Args:
        path: picture file to write.
        records: records of the dataset.
        metadata: its metadata.
        count: samples; fewer if there are not so many.

    Raises:
        UserError: a file cannot be read.
    """
    chosen = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    figure = Figure(figsize=(11, 3.6 * len(chosen) + 0.5), layout="constrained")
    rows = figure.subplots(len(chosen), 2, squeeze=False)
    for axes, index in zip(rows, chosen, strict=True):
        _draw_sample(axes, records[index], metadata)
    figure.suptitle(metadata.name, fontsize=11)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _draw_sample(axes: Sequence, record: Record, metadata: Metadata) -> None:
    image = read_image(record["file_name"])
    regions = sorted(_regions(record, metadata, image.shape[:2]), key=lambda each: -each[0].sum())
    regions = [each for each in regions if each[0].any()]
    painted = image.astype(np.float32)
    for mask, _, color in regions:
        painted[mask] = (1 - _OPACITY) * image[mask] + _OPACITY * np.array(color)
        painted[find_boundaries(mask, mode="inner")] = 255
    for each, pixels in zip(axes, (image, painted.astype(np.uint8)), strict=True):
        each.imshow(pixels)
        each.set_axis_off()
    for mask, name, _ in regions[:_NAMED]:
        row, column = _middle(mask)
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
        axes[1].text(column, row, name[:_NAME_LENGTH], fontsize=7, ha="center", va="center", bbox=box, clip_on=True)
    axes[0].set_title(Path(record["file_name"]).name, fontsize=8)
    unnamed = f", the {_NAMED} largest named" if len(regions) > _NAMED else ""
    axes[1].set_title(f"{len(regions)} regions{unnamed}", fontsize=8)


def _middle(mask: np.ndarray) -> tuple[int, int]:
    """Return row and column of the pixel of a mask (H, W) that is farthest from its border."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row), int(column)


def _regions(
    record: Record, metadata: Metadata, size_hw: tuple[int, int]
) -> Iterator[tuple[np.ndarray, str, tuple[int, int, int]]]:
    """Yield mask (H, W), class name and colour of every labelled region: segments, else instances, else classes."""
    if "pan_seg_file_name" in record:
        ids = read_panoptic_ids(record["pan_seg_file_name"], size_hw=size_hw)
        for segment in record["segments_info"]:
            index = segment["category_id"]
            yield ids == segment["id"], _name(metadata.stuff_classes[index]), metadata.stuff_colors[index]
    elif "annotations" in record:
        for number, annotation in enumerate(record["annotations"]):
            index = annotation["category_id"]
            mask = segmentation_mask(annotation["segmentation"], size_hw, f"{record['file_name']}, annotation {number}")
            yield mask, _name(metadata.thing_classes[index]), metadata.thing_colors[index]
    elif "sem_seg_file_name" in record:
        labels = read_label_map(record["sem_seg_file_name"], size_hw=size_hw)
        for index in np.unique(labels):
            if 0 <= index < len(metadata.stuff_classes):
                yield labels == index, _name(metadata.stuff_classes[index]), metadata.stuff_colors[index]


def _name(entry: str) -> str:
    return split_synonyms(entry)[0]
