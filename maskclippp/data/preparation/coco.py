"""COCO 2017: label maps from panoptic annotations and from COCO-Stuff, and instance files of class splits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError

from ..annotations import read_json, read_label_map, read_panoptic_ids
from ..datasets.row import DatasetRow
from ..datasets.table import COCO_OVS_PARTS, DATASETS
from ..layouts import elsewhere, files_by_stem, holds, list_files, refuse_misplaced, source_folder
from ..vocabularies import load_vocabulary
from .confirm import confirm
from .downloads import check_count, keep_existing, present_splits
from .options import Options
from .outputs import Job, LabelFile, convert, lookup, verify, write_image, write_json

logger = logging.getLogger(__name__)

_SPLITS = ("val", "train")
_IGNORED = 255
_UNUSED_STUFF_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Ids of COCO-Stuff's numbering that are no class; a few pixels may have them."""


def prepare_semantic_from_panoptic(options: Options) -> None:
    """Write ``coco/panoptic_semseg_{train,val}2017``: class 0 to 132, 255 where no segment is.

    Crowd segments count.

    Raises:
        UserError: missing, broken or surplus files.
    """
    rows = {split: DATASETS[f"openvocab_coco_2017_{split}_panoptic_with_sem_seg"] for split in _SPLITS}
    root = options.root
    plans = {}
    for row in rows.values():
        refuse_misplaced(root, row.image_root, ".jpg")
        refuse_misplaced(root, row.panoptic_root, ".png")
    # The JSON files of both splits come together, so they do not tell which split is wanted.
    lists = [root / row.panoptic_json for row in rows.values()]
    beside = [*lists, *(path.with_name(f"panoptic_{split}2017.zip") for split, path in zip(rows, lists, strict=True))]
    for split in present_splits({split: [root / row.panoptic_root] for split, row in rows.items()}, beside):
        row = rows[split]
        _refuse_misplaced_lists(root, [root / row.panoptic_json])
        pairs = keep_existing(_panoptic_pngs(row, root), row.panoptic_json, options)
        check_count(root / row.panoptic_root, len(pairs), row.num_images, options)
        plans[split] = [Job(path, root / row.sem_seg_root / path.name, details) for details, path in pairs]
    for split, jobs in plans.items():
        _make(_write_labels_of_segments, jobs, rows[split], options, f"label maps, {split}2017")


def prepare_stuff(options: Options) -> None:
    """Write ``coco/stuffthingmaps_detectron2/{train,val}2017`` from COCO-Stuff's pixel maps: class 0 to 170, or 255.

    Raises:
        UserError: missing, broken or surplus files.
    """
    rows = {split: DATASETS[f"openvocab_coco_2017_{split}_stuff_sem_seg"] for split in _SPLITS}
    sources = {split: _stuff_maps(options.root, split) for split in _SPLITS}
    plans = {}
    for row in rows.values():
        refuse_misplaced(options.root, row.image_root, ".jpg")
    beside = [options.root / row.image_root for row in rows.values()]
    for split in present_splits({split: [folder] for split, folder in sources.items()}, beside):
        files, row = list_files(sources[split], ".png"), rows[split]
        check_count(sources[split], len(files), row.num_images, options)
        plans[split] = [Job(path, options.root / row.sem_seg_root / f"{path.stem}.png") for path in files]
    for split, jobs in plans.items():
        _make(_write_stuff_labels, jobs, rows[split], options, f"COCO-Stuff, {split}2017")


def prepare_class_splits(options: Options) -> None:
    """Write ``coco/annotations/ov_split_48_17``: the instance files cut down to 48, 17 and 65 classes (MasQCLIP).

    Pictures without an annotation of these classes are left out; the order is kept.

    Raises:
        UserError: missing or broken files.
    """
    sources = {split: options.root / f"coco/annotations/instances_{split}2017.json" for split in _SPLITS}
    _refuse_misplaced_lists(options.root, sources.values())
    for split in present_splits({split: [path] for split, path in sources.items()}):
        rows = [DATASETS[f"coco_instance_{split}_{part}"] for part in COCO_OVS_PARTS]
        todo = [row for row in rows if options.overwrite or not (options.root / row.instances_json).exists()]
        content = read_json(sources[split]) if todo else None
        for row in rows:
            target = options.root / row.instances_json
            if row in todo:
                write_json(_keep_classes(content, row, sources[split]), target)
            logger.info("%s: %s", target.name, "made" if row in todo else "is there")


def _refuse_misplaced_lists(root: Path, files: Iterable[Path]) -> None:
    for file in files:
        found = None if file.exists() else elsewhere(root, file.relative_to(root), Path.is_file)
        if found:
            raise UserError(f"{file}: missing, but there is {found}; move it to {file.parent}")


def _make(function: Callable[[Job], None], jobs: list[Job], row: DatasetRow, options: Options, title: str) -> None:
    """Write label maps and check them."""
    convert(function, jobs, options, title)
    pictures = files_by_stem(options.root / row.image_root, ".jpg")
    files = [LabelFile(job.target, pictures.get(job.target.stem)) for job in jobs]
    num_classes = len(load_vocabulary(row.vocabulary))
    verify(files, num_classes=num_classes, ignore_label=_IGNORED, options=options, title=title)
    confirm(row.name, [file.image for file in files], options)


def _stuff_maps(root: Path, split: str) -> Path:
    """Return the folder of COCO-Stuff's pixel maps.

    The archive, stuffthingmaps_trainval2017.zip, has the folder names of the pictures: unpacked in ``coco`` it puts the
    maps among them.
    """
    usual = source_folder(root, f"coco/stuffthingmaps/{split}2017", ".png")
    others = (root / f"coco/stuffthingmaps_trainval2017/{split}2017", root / f"coco/{split}2017")
    return next((folder for folder in (usual, *others) if holds(folder, ".png")), usual)


def _panoptic_pngs(row: DatasetRow, root: Path) -> list[tuple[dict[int, int], Path]]:
    """Return for every picture {segment id: class} and its panoptic PNG."""
    json_file = root / row.panoptic_json
    classes = {class_id: index for index, class_id in enumerate(load_vocabulary(row.vocabulary).ids)}
    content, found = read_json(json_file), []
    try:
        for annotation in content["annotations"]:
            segments = {}
            for segment in annotation["segments_info"]:
                if segment["category_id"] not in classes:
                    where = f"{json_file}, image {annotation['image_id']}"
                    raise UserError(f"{where}: category_id {segment['category_id']} is none of COCO panoptic's classes")
                segments[segment["id"]] = classes[segment["category_id"]]
            found.append((segments, root / row.panoptic_root / Path(annotation["file_name"]).name))
    except (KeyError, TypeError) as error:
        raise UserError(f"{json_file}: not a COCO panoptic file, annotation {len(found)}: {error!r}") from error
    return found


def _write_labels_of_segments(job: Job) -> None:
    ids = read_panoptic_ids(job.source)
    present, position = np.unique(ids, return_inverse=True)
    unknown = [segment for segment in present.tolist() if segment and segment not in job.details]
    if unknown:
        raise UserError(
            f"{job.source}: segment {unknown[0]} and {len(unknown) - 1} others are not in the JSON file; "
            "unpack both again"
        )
    classes = np.array([job.details.get(segment, _IGNORED) for segment in present.tolist()], dtype=np.uint8)
    write_image(classes[position.reshape(ids.shape)], job.target)


def _write_stuff_labels(job: Job) -> None:
    raw = read_label_map(job.source, num_classes=256)
    labels = _stuff_table()[raw]
    if (labels < 0).any():
        values = ", ".join(map(str, np.unique(raw[labels < 0])[:5]))
        raise UserError(f"{job.source}: value {values}; COCO-Stuff's pixel maps hold 0 to 181, and 255")
    write_image(labels.astype(np.uint8), job.target)


@lru_cache(maxsize=1)
def _stuff_table() -> np.ndarray:
    """Return class by raw value (256,); raw values are ids minus 1, and -1 is the class of impossible ones."""
    vocabulary = load_vocabulary("coco_stuff_171")
    unlabelled = dict.fromkeys([_IGNORED, *(unused - 1 for unused in _UNUSED_STUFF_IDS)], _IGNORED)
    return lookup({i - 1: index for index, i in enumerate(vocabulary.ids)} | unlabelled, size=256, default=-1)


def _keep_classes(content: Any, row: DatasetRow, source: Path) -> dict[str, Any]:
    """Return an instance file with the classes of a row only."""
    wanted = set(load_vocabulary(row.vocabulary).ids)
    try:
        categories = [category for category in content["categories"] if category["id"] in wanted]
        annotations = [entry for entry in content["annotations"] if entry["category_id"] in wanted]
        owners = {entry["image_id"] for entry in annotations}
        images = [image for image in content["images"] if image["id"] in owners]
    except (KeyError, TypeError) as error:
        raise UserError(f"{source}: not a COCO instance file: {error!r}") from error
    if len(categories) != len(wanted):
        raise UserError(f"{source}: has {len(categories)} of the {len(wanted)} classes of {row.vocabulary}")
    kept = {key: content[key] for key in ("info", "licenses") if key in content}
    return kept | {"images": images, "annotations": annotations, "categories": categories}
