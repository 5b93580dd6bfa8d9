"""Mapillary Vistas v1.2 (validation): the files get the places where they are looked for; nothing is converted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from maskclippp.utils.errors import UserError

from ..datasets.loaders import load_listed
from ..datasets.row import DatasetRow
from ..datasets.table import DATASETS
from ..inspection.scan import scan
from ..layouts import files_by_stem, holds, refuse_misplaced
from .confirm import prepared_records
from .downloads import check_count, keep_existing, present_splits
from .options import Options
from .outputs import Job, convert, copy_file, copy_picture

logger = logging.getLogger(__name__)

_BASE = "mapillary_vistas/validation"


@dataclass(frozen=True)
class _Download:
    """Where the annotations of a download are: beside the pictures, or in ``v1.2`` as the archive of v2.0 has them."""

    labels: Path
    segments: Path
    json_file: Path


def prepare(options: Options) -> None:
    """Put label maps, panoptic PNGs and ``panoptic_2018.json`` where they are looked for, and check them.

    The JSON file is copied one folder up if it is only beside the PNGs. From the archive of v2.0 the files of v1.2 that
    it holds are copied.

    Raises:
        UserError: missing, broken or surplus files.
    """
    row = DATASETS["openvocab_mapillary_vistas_panoptic_val"]
    images = options.root / row.image_root
    refuse_misplaced(options.root, row.image_root, ".jpg")
    download = _look(options.root, row)
    needed = [images, download.labels, download.segments, download.json_file]
    present_splits({"Mapillary Vistas, validation": needed})
    pictures = files_by_stem(images, ".jpg")
    check_count(images, len(pictures), row.num_images, options)
    jobs = [
        *_copies(pictures, download.labels, options.root / row.sem_seg_root, options),
        *_copies(pictures, download.segments, options.root / row.panoptic_root, options),
    ]
    _check_lists(row, download, pictures, options)
    if copies := [job for job in jobs if job.source != job.target]:
        convert(copy_picture, copies, options, "annotations of v1.2")
    json_file = options.root / row.panoptic_json
    if download.json_file != json_file:
        convert(copy_file, [Job(download.json_file, json_file)], options, json_file.name)
    _check(row, options)


def _look(root: Path, row: DatasetRow) -> _Download:
    """Return where the annotations are.

    Raises:
        UserError: there are those of v2.0 only.
    """
    base, inner = root / _BASE, root / _BASE / "v1.2"
    labels, segments, json_file = root / row.sem_seg_root, root / row.panoptic_root, root / row.panoptic_json
    if holds(inner / "labels", ".png"):
        labels = inner / "labels"
    if holds(inner / "panoptic", ".png"):
        segments = inner / "panoptic"
    if (base / "v2.0").is_dir() and not labels.exists():
        raise UserError(
            f"{inner}: missing; the annotations in {base / 'v2.0'} are those of v2.0 (124 classes), the 65 classes "
            "need those of v1.2, which the same archive has: unpack it again (see datasets/README.md)"
        )
    places = (json_file, segments / json_file.name, root / row.panoptic_root / json_file.name)
    return _Download(labels, segments, next((path for path in places if path.exists()), segments / json_file.name))


def _copies(pictures: dict[str, Path], source: Path, target: Path, options: Options) -> list[Job]:
    """Return a job for the PNG of each picture; source and target are the same if it is in its place."""
    found = files_by_stem(source, ".png")
    pairs = keep_existing([(stem, found.get(stem, source / f"{stem}.png")) for stem in pictures], str(source), options)
    return [Job(path, path if source == target else target / f"{stem}.png") for stem, path in pairs]


def _check_lists(row: DatasetRow, download: _Download, pictures: dict[str, Path], options: Options) -> None:
    """Read the JSON file as the dataset will be read, before anything is written.

    Raises:
        UserError: it is of another version, or does not list the pictures that are there.
    """
    places = replace(
        row,
        sem_seg_root=str(download.labels.relative_to(options.root)),
        panoptic_root=str(download.segments.relative_to(options.root)),
        panoptic_json=str(download.json_file.relative_to(options.root)),
    )
    listed = {Path(record["file_name"]).stem for record in load_listed(places, str(options.root)).records}
    unlisted, absent = sorted(pictures.keys() - listed), sorted(listed - pictures.keys())
    if absent:
        raise UserError(
            f"{download.json_file}: lists {absent[0]}, one of {len(absent)} that are not in {row.image_root}"
        )
    if unlisted:
        raise UserError(
            f"{download.json_file}: does not list {pictures[unlisted[0]].name}, one of {len(unlisted)} that are in "
            f"{row.image_root}; unpack both again"
        )


def _check(row: DatasetRow, options: Options) -> None:
    """Read every file, as ``tools/check_datasets.py --deep`` does.

    Raises:
        UserError: something is wrong with a file.
    """
    records = prepared_records(row, options)
    failures = scan(row, records, workers=options.workers)
    if failures:
        others = f" (and {len(failures) - 1} more of {len(records)})" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{others}")
    logger.info("%s: %d pictures with their annotations checked", row.name, len(records))
