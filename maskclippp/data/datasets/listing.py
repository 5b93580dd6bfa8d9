"""Datasets that are folders: pictures with label maps of the same name, or pictures alone."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from maskclippp.utils.errors import UserError

from ..layouts import files_below
from .completeness import Loaded, existing, incomplete
from .row import DatasetRow

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}

logger = logging.getLogger(__name__)


def load_label_maps(row: DatasetRow, root: Path) -> Loaded:
    """Return pictures with the label maps of their names; in data of one's own also those in sub-folders.

    Raises:
        UserError: a folder is missing, nothing in it fits, or two files have one name.
    """
    images = existing(row, root / row.image_root, "folder of images")
    labels = existing(row, root / row.sem_seg_root, "folder of label maps")
    label_files = _by_name(row, labels, row.label_ext, images)
    if not label_files:
        raise incomplete(row, f"no *.{row.label_ext} label map in {labels}")
    image_files = _by_name(row, images, row.image_ext, labels)
    names = sorted(image_files.keys() & label_files.keys())
    if not names:
        raise incomplete(row, f"no label map in {labels} has the name of a *.{row.image_ext} in {images}")
    records = [
        {"file_name": str(images / image_files[name]), "sem_seg_file_name": str(labels / label_files[name])}
        for name in names
    ]
    gaps = []
    for files, others, folder, text in (
        (image_files, label_files, images, "pictures have no label map of their name"),
        (label_files, image_files, labels, "label maps have no picture of their name"),
    ):
        alone = sorted(files.keys() - others.keys())
        if alone:
            gaps.append(f"{len(alone)} of {len(files)} {text}, first {folder / files[alone[0]]}")
    return Loaded(records, len(image_files.keys() | label_files.keys()), tuple(gaps))


def load_pictures(row: DatasetRow, root: Path) -> Loaded:
    """Return the pictures of a dataset without annotations.

    Raises:
        UserError: no folder, or no pictures in it.
    """
    images = existing(row, root / row.image_root, "folder of images")
    found = [name for name in files_below(images) if _is_picture(name, row.image_ext)]
    if not found:
        kind = f"*.{row.image_ext}" if row.image_ext else "picture"
        raise incomplete(row, f"no {kind} in {images}")
    return Loaded([{"file_name": str(images / name)} for name in found], len(found))


def tell_unlisted(row: DatasetRow, loaded: Loaded, root: Path) -> None:
    """Say how many pictures of one's own data the annotation file does not name; they are not used."""
    images = root / row.image_root
    listed = {os.path.normpath(record["file_name"]) for record in loaded.records}
    annotations = [root / folder for folder in (row.sem_seg_root, row.panoptic_root) if folder]
    names = [name for name in files_below(images, without=annotations) if _is_picture(name, "")]
    others = [name for name in names if os.path.normpath(images / name) not in listed]
    if others:
        file = row.panoptic_json or row.instances_json
        logger.warning("%s does not name %d pictures below %s, first %s", file, len(others), images, others[0])


def _by_name(row: DatasetRow, folder: Path, ending: str, other: Path) -> dict[str, str]:
    """Return {what a picture and its label map have in common: path below the folder}."""
    found: dict[str, str] = {}
    for name in files_below(folder, into_folders=bool(row.described_in), without=[other]):
        if name.lower().endswith(ending.lower()):
            common = name[: len(name) - len(ending)].rstrip(".")
            if common in found:
                raise UserError(f"dataset '{row.name}': {folder} has both {found[common]} and {name}; keep one of them")
            found[common] = name
    return found


def _is_picture(name: str, ending: str) -> bool:
    return name.lower().endswith(ending.lower()) if ending else os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
