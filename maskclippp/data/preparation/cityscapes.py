"""Cityscapes (fine): training ids and panoptic files, as cityscapesScripts defines them, from its label PNGs."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES

from maskclippp.utils.errors import UserError

from ..annotations import check_labels, read_label_map
from ..datasets.table import DATASETS
from ..layouts import is_visible, refuse_misplaced
from ..vocabularies import load_vocabulary
from .confirm import confirm
from .downloads import check_count, existing, present_splits
from .options import Options
from .outputs import Job, LabelFile, convert, lookup, verify, write_image
from .panoptic import image_entry, make_panoptic_set, segment_entry

logger = logging.getLogger(__name__)

_IGNORED = 255
_FIRST_INSTANCE = 1000
_NUM_LABELS = 34
_LABELS, _INSTANCES, _TRAIN = "_gtFine_labelIds.png", "_gtFine_instanceIds.png", "_gtFine_labelTrainIds.png"
_OUTLINES, _PICTURE = "_gtFine_polygons.json", "_leftImg8bit.png"
_AGAIN = "unpack gtFine_trainvaltest.zip again"


def prepare(options: Options) -> None:
    """Write ``*_labelTrainIds.png`` beside the label PNGs, and ``gtFine/cityscapes_panoptic_{train,val}`` with JSON.

    Without ``*_labelIds.png`` the labels are taken from ``*_instanceIds.png``, which hold them as well.

    Raises:
        UserError: missing, broken or surplus files.
    """
    root = options.root / "cityscapes/gtFine"
    for split in ("val", "train"):
        refuse_misplaced(options.root, f"cityscapes/leftImg8bit/{split}", _PICTURE, depth=1)
        refuse_misplaced(options.root, f"cityscapes/gtFine/{split}", _INSTANCES, depth=1)
    pictures = options.root / "cityscapes/leftImg8bit"
    splits = present_splits({split: [root / split] for split in ("val", "train")}, beside=[pictures])
    plans = {split: _stems(root / split, split, options) for split in splits}
    for split, stems in plans.items():
        _prepare_labels(stems, split, options)
        _prepare_panoptic(stems, root, split, options)
        found = [_picture(stem, split, options) for stem in stems]
        confirm(f"openvocab_cityscapes_fine_panoptic_{split}", found, options)


def _stems(folder: Path, split: str, options: Options) -> list[Path]:
    """Return ``<city>/<city>_<sequence>_<frame>`` of all pictures that have instance ids; labels follow from them."""
    found = {
        ending: {path.with_name(path.name.removesuffix(ending)) for path in folder.glob(f"*/*{ending}")}
        for ending in (_LABELS, _INSTANCES, _OUTLINES)
    }
    instances = {stem for stem in found[_INSTANCES] if is_visible(stem)}
    lacking = {stem for stem in found[_LABELS] | found[_OUTLINES] if is_visible(stem)} - instances
    if lacking:
        first = _named(min(lacking), _INSTANCES)
        others = f"like {len(lacking)} of {len(lacking | instances)} of {folder}"
        raise UserError(f"{first}: missing, {others}; labels or outlines alone do not tell objects apart: {_AGAIN}")
    check_count(folder, len(instances), DATASETS[f"openvocab_cityscapes_fine_panoptic_{split}"].num_images, options)
    return sorted(instances)


def _named(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}{ending}")


def _picture(stem: Path, split: str, options: Options) -> Path | None:
    return existing(options.root / f"cityscapes/leftImg8bit/{split}/{stem.parent.name}/{stem.name}{_PICTURE}")


def _prepare_labels(stems: list[Path], split: str, options: Options) -> None:
    sources = [existing(_named(stem, _LABELS)) or _named(stem, _INSTANCES) for stem in stems]
    derived = sum(path.name.endswith(_INSTANCES) for path in sources)
    if derived:
        logger.info("training ids, %s: %d of %d from instance ids, there are no label ids", split, derived, len(stems))
    jobs = [Job(source, _named(stem, _TRAIN)) for source, stem in zip(sources, stems, strict=True)]
    convert(_write_labels, jobs, options, f"training ids, {split}")
    files = [LabelFile(job.target, _picture(stem, split, options)) for job, stem in zip(jobs, stems, strict=True)]
    num_classes = len(load_vocabulary("cityscapes_19"))
    verify(files, num_classes=num_classes, ignore_label=_IGNORED, options=options, title=f"training ids, {split}")


def _write_labels(job: Job) -> None:
    labels = read_label_map(job.source)
    if job.source.name.endswith(_INSTANCES):
        labels = np.where(labels < _FIRST_INSTANCE, labels, labels // _FIRST_INSTANCE)
    check_labels(labels, _NUM_LABELS, None, job.source)
    write_image(_training_ids()[labels].astype(np.uint8), job.target)


@lru_cache(maxsize=1)
def _training_ids() -> np.ndarray:
    """Return training id by label id (34,)."""
    ids = load_vocabulary("cityscapes_19").ids
    return lookup({label: index for index, label in enumerate(ids)}, size=_NUM_LABELS, default=_IGNORED)


def _prepare_panoptic(stems: list[Path], root: Path, split: str, options: Options) -> None:
    folder = root / f"cityscapes_panoptic_{split}"
    jobs = [Job(_named(stem, _INSTANCES), folder / f"{stem.name}_gtFine_panoptic.png", stem.name) for stem in stems]
    keys = ("id", "name", "color", "isthing")
    categories = [{key: entry[key] for key in keys} for entry in CITYSCAPES_CATEGORIES]
    json_file = root / f"cityscapes_panoptic_{split}.json"
    make_panoptic_set(_describe_segments, jobs, json_file, categories, options, f"panoptic, {split}")


def _describe_segments(job: Job) -> tuple[np.ndarray, dict[str, Any], list[dict[str, Any]]]:
    """Return segment ids (H, W), image entry and segments of an instance map."""
    ids = read_label_map(job.source)
    evaluated, things = _evaluated_labels()
    canvas, segments = np.zeros(ids.shape, dtype=np.int32), []
    for segment_id in np.unique(ids).tolist():
        is_group = segment_id < _FIRST_INSTANCE
        label = segment_id if is_group else segment_id // _FIRST_INSTANCE
        if label in evaluated:
            mask = ids == segment_id
            canvas[mask] = segment_id
            # Things that are not told apart are a crowd; stuff never is.
            segments.append(segment_entry(mask, segment_id, label, is_crowd=is_group and label in things))
    return canvas, image_entry(job.details, f"{job.details}_gtFine_leftImg8bit.png", ids.shape), segments


@lru_cache(maxsize=1)
def _evaluated_labels() -> tuple[frozenset[int], frozenset[int]]:
    """Return the label ids that count, and those of them that are things."""
    vocabulary = load_vocabulary("cityscapes_19")
    things = (label for label, thing in zip(vocabulary.ids, vocabulary.is_thing, strict=True) if thing)
    return frozenset(vocabulary.ids), frozenset(things)
