"""ADE20K full (ADE20K_2021_17_01), 847 classes: pictures of at most 512 pixels on the shorter side, 16-bit labels."""

from __future__ import annotations

import logging
import pickle
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from maskclippp.utils.errors import UserError
from maskclippp.utils.restricted_pickle import load_pickle

from ..annotations import check_size
from ..datasets.table import DATASETS
from ..images import decode
from ..layouts import elsewhere, has_ending, is_plain
from ..vocabularies import load_vocabulary
from .confirm import confirm
from .downloads import check_count, keep_existing, present_splits
from .options import Options
from .outputs import Job, LabelFile, convert, lookup, verify, write_image

logger = logging.getLogger(__name__)

_RELEASE, _FORMER = "ADE20K_2021_17_01", "ADE20K_2016_07_26"
_INDEX = "index_ade20k.pkl"
_SHORTER_SIDE = 512
_IGNORED = 65535
_MAX_OBJECT = 25 * 256 + 255


def prepare(options: Options) -> None:
    """Write ``images_detectron2`` and ``annotations_detectron2``.

    The pictures are those that the index lists; without an index, all below ``images/ADE``.

    Raises:
        UserError: missing or broken files, or another release.
    """
    base = _find_release(options.root)
    plans = {split: _existing_pairs(pictures, options) for split, pictures in _pictures(base, options).items()}
    for split, pairs in plans.items():
        row = DATASETS[f"openvocab_ade20k_full_sem_seg_{split}"]
        images = [Job(image, options.root / row.image_root / f"{image.stem}.jpg") for image, _ in pairs]
        convert(_write_image, images, options, f"pictures, {split}")
        labels = [Job(path, options.root / row.sem_seg_root / f"{image.stem}.tif", image) for image, path in pairs]
        convert(_write_labels, labels, options, f"label maps, {split}")
        verify(
            [LabelFile(label.target, image.target) for label, image in zip(labels, images, strict=True)],
            num_classes=len(load_vocabulary(row.vocabulary)),
            ignore_label=_IGNORED,
            options=options,
            title=f"label maps, {split}",
        )
        if pairs:
            confirm(row.name, [image.target for image in images], options)


def _find_release(root: Path) -> Path:
    """Return the folder of the release, ``ADE20K_2021_17_01``.

    Raises:
        UserError: nothing of it is there, or the release of 2016 is.
    """
    usual = root / _RELEASE
    base = usual if _is_release(usual) else elsewhere(root, _RELEASE, _is_release)
    if base:
        return base
    for folder in (root / _FORMER, usual):
        if folder.name == _FORMER and folder.is_dir() or (folder / "index_ade20k.mat").exists():
            raise UserError(
                f"{folder}: the release of 2016 and 2017 (index_ade20k.mat), whose label pictures count objects in "
                f"another way; the 847 classes need {_RELEASE} (see datasets/README.md)"
            )
    present_splits({"ADE20K full": [usual / "images/ADE", usual / _INDEX]}, beside=[usual])
    raise AssertionError("one of them is there")


def _is_release(folder: Path) -> bool:
    return (folder / _INDEX).is_file() or (folder / "images/ADE").is_dir()


def _pictures(base: Path, options: Options) -> dict[str, list[Path]]:
    """Return the pictures of each split."""
    if (base / _INDEX).is_file():
        return _indexed_pictures(base)
    folder = base / "images/ADE"
    logger.info("%s: missing; the pictures are those below %s", base / _INDEX, folder)
    splits = {"train": [], "val": []}
    for path in sorted(folder.rglob("*")):
        if has_ending(path, ".jpg") and is_plain(path, folder):
            splits[_split_of(path)].append(path)
    for split, files in splits.items():
        if files or not options.partial:
            num_images = DATASETS[f"openvocab_ade20k_full_sem_seg_{split}"].num_images
            check_count(folder / {"train": "training", "val": "validation"}[split], len(files), num_images, options)
    if not any(splits.values()):
        raise UserError(f"{folder}: holds no *.jpg; unpack the download again (see datasets/README.md)")
    return splits


def _split_of(path: Path) -> str:
    return "val" if path.name.split("_")[1:2] == ["val"] else "train"


def _existing_pairs(pictures: list[Path], options: Options) -> list[tuple[Path, Path]]:
    """Return picture and label picture where both are there."""
    if not pictures:
        return []
    there = keep_existing([(path, path) for path in pictures], _RELEASE, options)
    return keep_existing([(path, path.with_name(f"{path.stem}_seg.png")) for path, _ in there], _RELEASE, options)


def _indexed_pictures(base: Path) -> dict[str, list[Path]]:
    """Return the pictures of each split that the index lists."""
    path = base / _INDEX
    try:
        index = load_pickle(path)
        entries = list(zip(index["folder"], index["filename"], strict=True))
        files = [base.parent / folder / Path(name).name for folder, name in entries]
    except (pickle.UnpicklingError, KeyError, TypeError, IndexError, ValueError, EOFError, AttributeError) as error:
        raise UserError(f"{path}: not the index of ADE20K: {error!r}; unpack the download again") from error
    if not files:
        raise UserError(f"{path}: lists no picture; unpack the download again")
    splits = {"train": [], "val": []}
    for file in files:
        splits[_split_of(file)].append(file)
    return splits


def _write_image(job: Job) -> None:
    pixels = np.asarray(decode(job.source).convert("RGB"))
    write_image(_shrink(pixels, cv2.INTER_LINEAR), job.target)


def _write_labels(job: Job) -> None:
    image = decode(job.source)
    if image.mode not in ("RGB", "RGBA"):
        raise UserError(f"{job.source}: a label picture has the channels R, G, B, this file has mode {image.mode}")
    channels = np.asarray(image).astype(np.int32)  # (H, W, 3)
    picture = decode(job.details)
    check_size(job.source, channels.shape[:2], (picture.height, picture.width))
    objects = channels[..., 0] // 10 * 256 + channels[..., 1]
    labels = _classes_of_objects()[objects].astype(np.uint16)
    write_image(_shrink(labels, cv2.INTER_NEAREST), job.target)


@lru_cache(maxsize=1)
def _classes_of_objects() -> np.ndarray:
    """Return class by object number."""
    ids = load_vocabulary("ade20k_847").ids
    return lookup({i: index for index, i in enumerate(ids)}, size=_MAX_OBJECT + 1, default=_IGNORED)


def _shrink(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    """Resize (H, W, ...) so that the shorter side is 512; smaller ones stay as they are.

    OpenCV's rules (no antialiasing; nearest takes the floor) make the same pixels as the published preparation.
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter <= _SHORTER_SIDE:
        return pixels
    longer = round(max(height, width) / shorter * _SHORTER_SIDE)
    size = (longer, _SHORTER_SIDE) if width > height else (_SHORTER_SIDE, longer)  # width, height
    return cv2.resize(pixels, size, interpolation=interpolation)
