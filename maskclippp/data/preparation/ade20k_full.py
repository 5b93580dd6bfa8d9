"""ADE20K full (ADE20K_2021_17_01), 847 classes: pictures of at most 512 pixels on the shorter side, 16-bit labels."""

from __future__ import annotations

import pickle
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from maskclippp.data.annotations import check_size
from maskclippp.data.datasets.table import DATASETS
from maskclippp.data.images import decode
from maskclippp.data.preparation.downloads import keep_existing, present_splits
from maskclippp.data.preparation.options import Options
from maskclippp.data.preparation.outputs import Job, LabelFile, convert, lookup, verify, write_image
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.utils.errors import UserError
from maskclippp.utils.restricted_pickle import load_pickle

_INDEX = Path("ADE20K_2021_17_01/index_ade20k.pkl")
_SHORTER_SIDE = 512
_IGNORED = 65535
_MAX_OBJECT = 25 * 256 + 255


def prepare(options: Options) -> None:
    """Write ``images_detectron2`` and ``annotations_detectron2``.

    Raises:
        UserError: missing or broken files.
    """
    present_splits({"ADE20K full": [options.root / _INDEX]})
    plans = {split: _existing_pairs(pictures, options) for split, pictures in _indexed_pictures(options).items()}
    for split, pairs in plans.items():
        row = DATASETS[f"openvocab_ade20k_full_sem_seg_{split}"]
        images = [Job(image, options.root / row.image_root / image.name) for image, _ in pairs]
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


def _existing_pairs(pictures: list[Path], options: Options) -> list[tuple[Path, Path]]:
    """Return picture and label picture where both are there."""
    if not pictures:
        return []
    there = keep_existing([(path, path) for path in pictures], _INDEX.name, options)
    return keep_existing([(path, path.with_name(f"{path.stem}_seg.png")) for path, _ in there], _INDEX.name, options)


def _indexed_pictures(options: Options) -> dict[str, list[Path]]:
    """Return the pictures of each split that the index lists."""
    path = options.root / _INDEX
    try:
        index = load_pickle(path)
        entries = list(zip(index["folder"], index["filename"], strict=True))
        files = [options.root / folder / Path(name).name for folder, name in entries]
        splits = {"train": [], "val": []}
        for file in files:
            splits["val" if file.name.split("_")[1] == "val" else "train"].append(file)
    except (pickle.UnpicklingError, KeyError, TypeError, IndexError, ValueError, EOFError, AttributeError) as error:
        raise UserError(f"{path}: not the index of ADE20K: {error!r}; unpack the download again") from error
    if not files:
        raise UserError(f"{path}: lists no picture; unpack the download again")
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
