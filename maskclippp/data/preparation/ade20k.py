"""ADE20K-150 (ADEChallengeData2016): label maps, panoptic and instance annotations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError
from maskclippp.utils.parallel import run_all

from ..annotations import check_size, read_label_map
from ..datasets.palette import palette
from ..datasets.table import DATASETS
from ..image_size import image_size_hw
from ..images import decode
from ..layouts import files_by_stem, list_files, refuse_misplaced
from ..run_length import encode_rle
from ..vocabularies import load_vocabulary
from .confirm import confirm
from .downloads import check_count, keep_existing, present_splits
from .options import Options
from .outputs import Job, LabelFile, convert, lists_images, verify, write_image, write_json
from .panoptic import bounding_box, image_entry, make_panoptic_set, segment_entry

logger = logging.getLogger(__name__)

_ROOT = "ADEChallengeData2016"
_FOLDERS = {"train": "training", "val": "validation"}
_NUM_CLASSES, _IGNORED = 150, 255
_ID_STEPS = 30

_Region = tuple[int, np.ndarray]  # class 0 to 149, mask (H, W) bool


def prepare_semantic(options: Options) -> None:
    """Write ``annotations_detectron2``: class 0 to 149, 255 where nothing is labelled.

    Raises:
        UserError: missing, broken or surplus files.
    """
    root = options.root / _ROOT
    splits = _splits(options, "annotations")
    sources = {split: _pictures(root, "annotations", ".png", split, options) for split in splits}
    for split, files in sources.items():
        _prepare_semantic_split(root, split, files, options)


def prepare_panoptic(options: Options) -> None:
    """Write ``ade20k_panoptic_{train,val}``, the JSON files, and what else the panoptic registration reads.

    Raises:
        UserError: missing, broken or surplus files.
    """
    root = options.root / _ROOT
    splits = _splits(options, "images", "annotations", "annotations_instance")
    sources = {split: _pictures(root, "annotations", ".png", split, options) for split in splits}
    instances = {split: _instance_jobs(root, split, options) for split in splits}
    for split in splits:
        _prepare_semantic_split(root, split, sources[split], options)
        _prepare_instance_split(root, split, instances[split], options)
        _prepare_panoptic_split(root, split, sources[split], options)


def prepare_instance(options: Options) -> None:
    """Write ``ade20k_instance_{train,val}.json``.

    Raises:
        UserError: missing, broken or surplus files.
    """
    root = options.root / _ROOT
    splits = _splits(options, "images", "annotations_instance")
    instances = {split: _instance_jobs(root, split, options) for split in splits}
    for split, jobs in instances.items():
        _prepare_instance_split(root, split, jobs, options)


def _splits(options: Options, *parts: str) -> list[str]:
    """Return the splits of which these folders are there."""
    root = options.root / _ROOT
    for folder in _FOLDERS.values():
        for part in ("images", *parts):
            refuse_misplaced(options.root, f"{_ROOT}/{part}/{folder}", ".jpg" if part == "images" else ".png")
    needed = {split: [root / part / folder for part in parts] for split, folder in _FOLDERS.items()}
    return present_splits(needed, beside=[root / "images", root / "annotations", root / "annotations_instance"])


def _pictures(root: Path, part: str, ending: str, split: str, options: Options) -> list[Path]:
    folder = root / part / _FOLDERS[split]
    files = list_files(folder, ending)
    check_count(folder, len(files), DATASETS[f"openvocab_ade20k_sem_seg_{split}"].num_images, options)
    return files


def _prepare_semantic_split(root: Path, split: str, sources: list[Path], options: Options) -> None:
    target = root / "annotations_detectron2" / _FOLDERS[split]
    convert(
        _write_labels, [Job(path, target / f"{path.stem}.png") for path in sources], options, f"label maps, {split}"
    )
    pictures = files_by_stem(root / "images" / _FOLDERS[split], ".jpg")
    files = [LabelFile(target / f"{path.stem}.png", pictures.get(path.stem)) for path in sources]
    verify(files, num_classes=_NUM_CLASSES, ignore_label=_IGNORED, options=options, title=f"label maps, {split}")
    confirm(f"openvocab_ade20k_sem_seg_{split}", [file.image for file in files], options)


def _write_labels(job: Job) -> None:
    labels = read_label_map(job.source, num_classes=_NUM_CLASSES + 1)
    write_image((labels - 1).astype(np.uint8), job.target)  # 0 becomes 255


def _prepare_instance_split(root: Path, split: str, jobs: list[Job], options: Options) -> None:
    _write_instances(root, split, jobs, options)
    confirm(f"openvocab_ade20k_instance_{split}", [job.source for job in jobs], options)


def _write_instances(root: Path, split: str, jobs: list[Job], options: Options) -> None:
    target = root / f"ade20k_instance_{split}.json"
    if not options.overwrite and lists_images(target, len(jobs)):
        logger.info("instances, %s: %s is there", split, target.name)
        return
    results = run_all(_image_instances, jobs, workers=options.workers, title=f"instances, {split}")
    annotations = [annotation for _, found in results for annotation in found]
    vocabulary = load_vocabulary("ade20k_instance_100")
    write_json(
        {
            "images": [image for image, _ in results],
            "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, start=1)],
            "categories": [
                {"id": class_id, "name": names[0]}
                for class_id, names in zip(vocabulary.ids, vocabulary.names, strict=True)
            ],
        },
        target,
    )
    logger.info("instances, %s: %d of %d pictures", split, len(annotations), len(results))


def _instance_jobs(root: Path, split: str, options: Options) -> list[Job]:
    """Return picture (``source``) and instance map (``details``) of all pictures."""
    folder = root / "annotations_instance" / _FOLDERS[split]
    maps = files_by_stem(folder, ".png")
    pictures = _pictures(root, "images", ".jpg", split, options)
    pairs = [(path, maps.get(path.stem, folder / f"{path.stem}.png")) for path in pictures]
    target = root / f"ade20k_instance_{split}.json"
    return [Job(image, target, instances) for image, instances in keep_existing(pairs, str(folder), options)]


def _image_instances(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the image entry and the annotations of a picture from its instance map."""
    size_hw = image_size_hw(job.source)
    annotations = []
    for category_id, mask in _instances(job.details, size_hw):
        annotations.append(
            {
                "image_id": job.source.stem,
                "category_id": category_id,
                "iscrowd": 0,
                "bbox": bounding_box(mask),
                "area": int(mask.sum()),
                "segmentation": encode_rle(mask[None])[0],
            }
        )
    return image_entry(job.source.stem, job.source.name, size_hw), annotations


def _instances(path: Path, size_hw: tuple[int, int]) -> list[_Region]:
    """Read an instance map (R: class 1 to 100 of the instance challenge, G: instance), ascending by instance."""
    image = decode(path)
    if image.mode not in ("RGB", "RGBA"):
        raise UserError(f"{path}: an instance map has the channels R, G, B, this file has mode {image.mode}")
    channels = np.asarray(image)[..., :2]  # (H, W, 2)
    check_size(path, channels.shape[:2], size_hw)
    things = load_vocabulary("ade20k_instance_100").ids  # in the order of the challenge's own ids
    found = []
    for instance in np.unique(channels[..., 1][channels[..., 1] > 0]):
        mask = channels[..., 1] == instance
        classes = np.unique(channels[..., 0][mask])
        if len(classes) != 1 or not 1 <= classes[0] <= len(things):
            raise UserError(
                f"{path}: instance {instance} has the classes {classes.tolist()}, expected one of 1 to {len(things)}"
            )
        found.append((things[classes[0] - 1], mask))
    return found


def _prepare_panoptic_split(root: Path, split: str, sources: list[Path], options: Options) -> None:
    folder, instances = root / f"ade20k_panoptic_{split}", root / "annotations_instance" / _FOLDERS[split]
    maps = files_by_stem(instances, ".png")
    wanted = [(path, maps.get(path.stem, instances / path.name)) for path in sources]
    pairs = keep_existing(wanted, str(instances), options)
    pictures = files_by_stem(root / "images" / _FOLDERS[split], ".jpg")
    found = [pictures.get(path.stem) for path, _ in pairs]
    jobs = [
        Job(path, folder / f"{path.stem}.png", (other, image.name if image else f"{path.stem}.jpg"))
        for (path, other), image in zip(pairs, found, strict=True)
    ]
    vocabulary, colors = load_vocabulary("ade20k_150"), palette(_NUM_CLASSES)
    categories = [
        {"id": index, "name": names[0], "isthing": int(thing), "color": colors[index]}
        for index, (names, thing) in enumerate(zip(vocabulary.names, vocabulary.is_thing, strict=True))
    ]
    json_file = root / f"ade20k_panoptic_{split}.json"
    make_panoptic_set(_describe_segments, jobs, json_file, categories, options, f"panoptic, {split}")
    confirm(f"openvocab_ade20k_panoptic_{split}", found, options)


def _describe_segments(job: Job) -> tuple[np.ndarray, dict[str, Any], list[dict[str, Any]]]:
    """Return segment ids (H, W), image entry and segments of a label map.

    The details of the job are its instance map and the name of its picture.
    """
    instance_map, picture = job.details
    labels = read_label_map(job.source, num_classes=_NUM_CLASSES + 1) - 1
    canvas = np.zeros(labels.shape, dtype=np.int32)
    give_id, segments = _id_giver(), []
    # Things come last: the two sources overlap, and an object lies on what is behind it.
    for category_id, mask in (*_stuff(labels), *_instances(instance_map, labels.shape)):
        segment_id = give_id(category_id)
        canvas[mask] = segment_id
        segments.append(segment_entry(mask, segment_id, category_id))
    return canvas, image_entry(job.source.stem, picture, labels.shape), segments


def _stuff(labels: np.ndarray) -> list[_Region]:
    """Return the stuff regions of a label map (-1: nothing), ascending by class."""
    is_thing = load_vocabulary("ade20k_150").is_thing
    return [(index, labels == index) for index in np.unique(labels).tolist() if index >= 0 and not is_thing[index]]


def _id_giver() -> Callable[[int], int]:
    """Return a function that gives each segment of a picture an id of its own, near the colour of its class.

    The random steps start anew for each picture, so a repeated preparation gives the same ids.
    """
    rng, colors, used = np.random.default_rng(0), palette(_NUM_CLASSES), {0}

    def give(category_id: int) -> int:
        color = candidate = np.array(colors[category_id])
        while (segment_id := int(candidate @ (1, 256, 65536))) in used:
            candidate = np.clip(color + rng.integers(-_ID_STEPS, _ID_STEPS + 1, 3), 0, 255)
        used.add(segment_id)
        return segment_id

    return give
