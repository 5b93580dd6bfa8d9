"""Reading every file of a dataset: pictures that cannot be decoded, sizes that differ, labels out of range."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError
from maskclippp.utils.parallel import try_all

from ..annotations import read_label_map, read_panoptic_ids
from ..coverage import describe_coverage
from ..datasets.row import DatasetRow
from ..datasets.vocabulary import row_vocabulary
from ..images import read_image
from ..instance_json import read_instances
from ..panoptic_segments import segment_areas, small_area
from ..segmentations import checked_segmentation, segmentation_mask

logger = logging.getLogger(__name__)

Record = dict[str, Any]


_NONE, _ALL = -1, -2
"""Keys of an :data:`Occurrence`: pixels of no class, and all pixels."""

Occurrence = Mapping[str, Counter]
"""By kind ("label maps", "segments", "instances"), how many pixels, segments or instances each class has."""


@dataclass(frozen=True)
class Survey:
    """What is in the files of a dataset.

    Attributes:
        failures: one message per record with something wrong.
        coverage: by kind of annotation, one line about the classes that occur and the pixels that are ignored.
    """

    failures: list[str]
    coverage: list[str]


def scan(row: DatasetRow, records: Sequence[Record], *, workers: int = 1) -> list[str]:
    """Return the failures of :func:`survey`."""
    return survey(row, records, workers=workers).failures


def survey(row: DatasetRow, records: Sequence[Record], *, workers: int = 1) -> Survey:
    """Read all files of a dataset.

    Args:
        row: the dataset.
        records: its records.
        workers: processes.

    Raises:
        UserError: the class names of the dataset are not available.
    """
    vocabulary = row_vocabulary(row)
    own = bool(row.described_in)
    check = partial(check_record, num_classes=len(vocabulary), ignore_label=row.ignore_label, own=own)
    found, failures = try_all(check, records, workers=workers, title=row.name)
    totals: dict[str, Counter] = {}
    for occurrence in found:
        for kind, counts in (occurrence or {}).items():
            totals.setdefault(kind, Counter()).update(counts)
    entries = vocabulary.class_entries
    if row.kind == "instance":  # its records count the things only
        entries = [entry for entry, thing in zip(entries, vocabulary.is_thing, strict=True) if thing]
    return Survey(failures, [f"{kind}: {_describe(entries, counts)}" for kind, counts in totals.items()])


def _describe(class_entries: Sequence[str], counts: Counter) -> str:
    by_class = [counts[index] for index in range(len(class_entries))]
    return describe_coverage(class_entries, by_class, ignored=counts[_NONE], pixels=counts[_ALL])


def instance_file_problems(row: DatasetRow, root: str | Path) -> list[str]:
    """Return what is wrong with the instance file that a panoptic dataset has for its evaluation.

    Args:
        row: the dataset.
        root: datasets root.
    """
    path = Path(root, row.instances_json)
    if row.kind != "panoptic" or not row.instances_json or not path.is_file():
        return []
    try:
        found = read_instances(path)
    except UserError as error:
        return [str(error)]
    if found.left_out:
        logger.warning("%s: %s", path, found.left_out)
    return []


def check_record(record: Record, *, num_classes: int, ignore_label: int, own: bool = False) -> Occurrence:
    """Read the files of a record; return what occurs in them.

    Args:
        record: as loaders make it.
        num_classes: labels of the label map must be below it, or ``ignore_label``.
        ignore_label: value of unlabelled pixels.
        own: of a dataset of one's own, in which masks without a pixel and areas smaller than what can be seen are
            wrong; some published ones have a few.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    size_hw = read_image(record["file_name"]).shape[:2]
    occurrence = {}
    if "sem_seg_file_name" in record:
        labels = read_label_map(
            record["sem_seg_file_name"], size_hw=size_hw, num_classes=num_classes, ignore_label=ignore_label
        )
        occurrence["label maps"] = _count_labels(labels, ignore_label)
    return occurrence | check_annotations(record, size_hw, own=own)


def check_annotations(record: Record, size_hw: tuple[int, int], *, own: bool = False) -> Occurrence:
    """Read the panoptic PNG of a record, and look at the outlines of its instances; return what occurs in them.

    Args:
        record: as loaders make it.
        size_hw: size of its picture.
        own: of a dataset of one's own, as for :func:`check_record`.

    Raises:
        UserError: the first thing that is wrong with it.
    """
    path = record["file_name"]
    told = (record.get("height", size_hw[0]), record.get("width", size_hw[1]))
    if told != size_hw:
        raise UserError(f"{path}: {size_hw[0]}x{size_hw[1]} (height x width), its annotation says {told[0]}x{told[1]}")
    occurrence = {}
    if "pan_seg_file_name" in record:
        occurrence["segments"] = _check_segments(record, size_hw, own)
    for index, annotation in enumerate(record.get("annotations", ())):
        _check_outline(annotation, size_hw, f"{path}, annotation {index}", own)
    if "annotations" in record:
        occurrence["instances"] = Counter(annotation.get("category_id") for annotation in record["annotations"])
    return occurrence


def _count_labels(labels: np.ndarray, ignore_label: int) -> Counter:
    classes, pixels = np.unique(labels, return_counts=True)
    counts = Counter(dict(zip(classes.tolist(), pixels.tolist(), strict=True)))
    return counts + Counter({_NONE: counts.pop(ignore_label, 0), _ALL: labels.size})


def _check_segments(record: Record, size_hw: tuple[int, int], own: bool) -> Counter:
    path, segments = record["pan_seg_file_name"], record["segments_info"]
    ids, counts = np.unique(read_panoptic_ids(path, size_hw=size_hw), return_counts=True)
    found = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    if own:
        pixels = np.array([found.get(segment["id"], 0) for segment in segments])
        for place in segment_areas(segments, pixels)[1]:
            raise small_area(segments[place], pixels[place], path)
    unknown = sorted(found.keys() - {0} - {segment["id"] for segment in segments})
    if unknown:
        raise UserError(f"{path}: segment {unknown[0]} and {len(unknown) - 1} others are not in the JSON file")
    classes = Counter(segment.get("category_id") for segment in segments)
    return classes + Counter({_NONE: found.get(0, 0), _ALL: sum(found.values())})


def _check_outline(annotation: Record, size_hw: tuple[int, int], where: str, own: bool) -> None:
    outline, lacking = checked_segmentation(annotation.get("segmentation"), size_hw, where)
    if lacking:
        raise UserError(f"{where}: a polygon has fewer than three points or an odd number of values")
    if not segmentation_mask(outline, size_hw, where).any() and own:
        raise UserError(f"{where}: its mask has no pixel; it can neither be learnt nor found")
    if isinstance(outline, dict):
        return
    points = np.concatenate([np.asarray(polygon, dtype=np.float64) for polygon in outline]).reshape(-1, 2)
    # Published outlines stick out by a pixel or two.
    if (points < -2).any() or (points > np.array(size_hw[::-1]) + 2).any():
        raise UserError(f"{where}: its polygon leaves the picture of {size_hw[0]}x{size_hw[1]}")
