"""PASCAL VOC 2012 (20 and 21 classes) and PASCAL Context (59 and 459 classes)."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from maskclippp.utils.errors import UserError

from ..annotations import read_json
from ..datasets.row import DatasetRow
from ..datasets.table import DATASETS
from ..layouts import files_by_stem, source_folder
from ..vocabularies import load_vocabulary
from .confirm import confirm
from .downloads import SEE, check_count, keep_existing, present_splits, read_stems
from .options import Options
from .outputs import Job, LabelFile, convert, copy_picture, lookup, verify, write_image
from .voc_maps import read_voc_map

logger = logging.getLogger(__name__)

_SPLITS = ("train", "val")
_VOC, _CONTEXT = Path("VOCdevkit/VOC2012"), Path("VOCdevkit/VOC2010")
_VOID = 255
_CONTEXT_CLASSES, _CONTEXT_VOID = 459, 65535

# Ids of the 59 classes, in their order, among the 459.
_CONTEXT_59_IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144, 158, 159),
    *(162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355, 360, 366, 368),
    *(397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)

_MAT_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, IndexError, NotImplementedError, EOFError),
    *(MatReadError, struct.error, zlib.error),
)


def prepare_voc(options: Options) -> None:
    """Write ``pascal_voc_d2``: pictures, label maps of 21 classes (0 is background) and of 20 (background ignored).

    Raises:
        UserError: missing, broken or surplus files.
    """
    root = _voc_root(options.root, _VOC, "SegmentationClass", ".png")
    shared = [root / "JPEGImages", root / "SegmentationClass"]
    lists = root / "ImageSets/Segmentation"
    present_splits({"PASCAL VOC 2012": [*shared, lists]})
    maps = files_by_stem(root / "SegmentationClass", ".png")
    plans = []
    for split, stems in _voc_stems(lists, maps).items():
        sources = {stem: maps.get(stem, root / f"SegmentationClass/{stem}.png") for stem in stems}
        for name, function in (("pascal21", _write_voc_21), ("pascal20", _write_voc_20)):
            row = DATASETS[f"openvocab_{name}_sem_seg_{split}"]
            plans.append(_plan(row, function, sources, root / "JPEGImages", options))
    for plan in plans:
        _make(plan, options)


def _voc_root(root: Path, usual: Path, part: str, ending: str) -> Path:
    """Return the folder of a VOC year that holds files in one of its folders; the usual one if none does."""
    return source_folder(root, usual / part, ending).parent


def _voc_stems(lists: Path, maps: Collection[str]) -> dict[str, list[str]]:
    """Return the pictures of each split.

    One list that is missing is what the other leaves of ``trainval.txt``, or else of the label maps, which are those of
    both splits.

    Raises:
        UserError: both lists are missing, or one cannot be read.
    """
    paths = {split: lists / f"{split}.txt" for split in _SPLITS}
    found = {split: read_stems(path) for split, path in paths.items() if path.exists()}
    if not found:
        raise UserError(
            f"{paths['train']}: missing, and so is {paths['val']}; without them nothing tells the splits apart, "
            f"finish the download ({SEE})"
        )
    for split in paths.keys() - found.keys():
        whole = lists / "trainval.txt"
        known = set(next(iter(found.values())))
        everything = read_stems(whole) if whole.exists() else sorted(maps)
        found[split] = [stem for stem in everything if stem not in known]
        origin = whole.name if whole.exists() else "SegmentationClass"
        logger.info("%s: missing; '%s' is the %d others of %s", paths[split], split, len(found[split]), origin)
        if not found[split]:
            raise UserError(f"{paths[split]}: missing, and {origin} has no others; finish the download ({SEE})")
    return {split: found[split] for split in _SPLITS}


def prepare_context_59(options: Options) -> None:
    """Write ``pascal_ctx_d2`` with label maps of 59 classes; all else is ignored (255).

    The labels are those of the 59 classes in the 459-class label maps (``trainval/*.mat``).

    Raises:
        UserError: missing, broken or surplus files.
    """
    _prepare_context("pascal_ctx59", _write_context_59, options)


def prepare_context_459(options: Options) -> None:
    """Write ``pascal_ctx_d2`` with label maps of 459 classes (16 bit); unlabelled pixels are 65535.

    Raises:
        UserError: missing, broken or surplus files.
    """
    _prepare_context("pascal_ctx459", _write_context_459, options)


def _prepare_context(name: str, function: Callable[[Job], None], options: Options) -> None:
    root = _voc_root(options.root, _CONTEXT, "trainval", ".mat")
    present_splits({"PASCAL Context": [root / "JPEGImages", root / "trainval"]})
    plans = []
    for split in _SPLITS:
        row = DATASETS[f"openvocab_{name}_sem_seg_{split}"]
        maps = {stem: root / f"trainval/{stem}.mat" for stem in _context_stems(root, split)}
        plans.append(_plan(row, function, maps, root / "JPEGImages", options))
    for plan in plans:
        _make(plan, options)


def _context_stems(root: Path, split: str) -> list[str]:
    """Return the pictures of a split, from VOC 2010's list or else from the published JSON file.

    Both hold the same 4998 and 5105 pictures; the JSON file is hundreds of megabytes large.
    """
    listed, json_file = root / f"ImageSets/Main/{split}.txt", root / "trainval_merged.json"
    if listed.exists():
        return read_stems(listed)
    if not json_file.exists():
        raise UserError(
            f"{listed}: missing, and so is {json_file.name}; one of them has to tell the pictures of '{split}'"
        )
    try:
        return [Path(image["file_name"]).stem for image in read_json(json_file)["images"] if image["phase"] == split]
    except (KeyError, TypeError) as error:
        raise UserError(f"{json_file}: not the file of PASCAL in Detail: {error!r}; download it again") from error


@dataclass(frozen=True)
class _Plan:
    """What is made of one split: copies of pictures, and label maps in the same order by ``function``."""

    row: DatasetRow
    function: Callable[[Job], None]
    copies: list[Job]
    labels: list[Job]


def _plan(
    row: DatasetRow, function: Callable[[Job], None], maps: dict[str, Path], images: Path, options: Options
) -> _Plan:
    """Look for the pictures and label maps of a split, given as {stem: label map}; nothing is written."""
    found = files_by_stem(images, ".jpg")
    pictures = dict(
        keep_existing([(stem, found.get(stem, images / f"{stem}.jpg")) for stem in maps], row.name, options)
    )
    sources = keep_existing([(stem, maps[stem]) for stem in pictures], row.name, options)
    check_count(sources[0][1].parent, len(sources), row.num_images, options)
    target = options.root / row.image_root
    copies = [Job(pictures[stem], target / f"{stem}.jpg") for stem, _ in sources]
    target = options.root / row.sem_seg_root
    labels = [Job(path, target / f"{stem}.{row.label_ext}") for stem, path in sources]
    return _Plan(row, function, copies, labels)


def _make(plan: _Plan, options: Options) -> None:
    """Copy the pictures of a split, convert its label maps and check them."""
    row = plan.row
    convert(copy_picture, plan.copies, options, f"pictures of {row.name}")
    convert(plan.function, plan.labels, options, row.name)
    verify(
        [LabelFile(label.target, copy.target) for label, copy in zip(plan.labels, plan.copies, strict=True)],
        num_classes=len(load_vocabulary(row.vocabulary)),
        ignore_label=row.ignore_label,
        options=options,
        title=row.name,
    )
    confirm(row.name, [copy.target for copy in plan.copies], options)


def _write_voc_21(job: Job) -> None:
    write_image(read_voc_map(job.source).astype(np.uint8), job.target)


def _write_voc_20(job: Job) -> None:
    labels = (read_voc_map(job.source) - 1).astype(np.uint8)  # background 0 becomes 255
    write_image(np.where(labels == _VOID - 1, np.uint8(_VOID), labels), job.target)


def _write_context_59(job: Job) -> None:
    write_image(_table_59()[_read_label_mat(job.source)].astype(np.uint8), job.target)


def _write_context_459(job: Job) -> None:
    write_image((_read_label_mat(job.source).astype(np.int32) - 1).astype(np.uint16), job.target)  # 0 becomes 65535


@lru_cache(maxsize=1)
def _table_59() -> np.ndarray:
    """Return class by raw id (460,)."""
    classes = {raw: index for index, raw in enumerate(_CONTEXT_59_IDS)}
    return lookup(classes, size=_CONTEXT_CLASSES + 1, default=_VOID)


def _read_label_mat(path: Path) -> np.ndarray:
    """Read a label map (H, W) of ids 0 to 459 from a MATLAB file.

    Raises:
        UserError: unreadable file, no ``LabelMap`` in it, ids out of range.
    """
    try:
        labels = loadmat(path, variable_names=["LabelMap"])["LabelMap"]
    except _MAT_ERRORS as error:
        raise UserError(f"{path}: cannot be read as a MATLAB file with a LabelMap: {error}; unpack it again") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "uif" or not labels.size:
        raise UserError(f"{path}: its LabelMap is not a 2-D array of numbers")
    if labels.min() < 0 or labels.max() > _CONTEXT_CLASSES:
        raise UserError(f"{path}: ids {labels.min()} to {labels.max()}, expected 0 to {_CONTEXT_CLASSES}")
    return labels.astype(np.uint16)
