"""Writes the toy world in the real formats: JPEG images, label PNGs, COCO panoptic and instance files, captions.

``world.json`` is written last. A folder whose ``world.json`` tells the same seed, version and counts is left alone; any
other content is replaced, so a world that was interrupted half-way is completed by asking for it again.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .captions import describe
from .classes import CLASSES, STUFF, THINGS
from .scene import Scene, Style, draw_scene

logger = logging.getLogger(__name__)

VERSION = 1
DEFAULT_COUNTS = {"train": 2000, "val": 300, "test": 500}
LONG_NAMES = {"train": "training", "val": "validation", "test": "test"}
IGNORED = 255
_SPLIT_SEEDS = {"train": 1001, "val": 1002, "test": 1003}
_CAPTIONS_PER_IMAGE = 2
_CLASS_STEP = 256


def draw_split_scene(split: str, seed: int, index: int) -> Scene:
    """Draw scene ``index`` of a split; nothing else has an influence.

    Training scenes show mostly seen classes; in validation and test every class comes round as first thing or ground.
    """
    rng = np.random.default_rng([seed, _SPLIT_SEEDS[split], index])
    if split == "train":
        return draw_scene(rng, Style(seen_share=0.8))
    thing, ground = THINGS[index % len(THINGS)], STUFF[(index + index // len(THINGS)) % len(STUFF)]
    return draw_scene(rng, Style(), first_thing=thing, first_ground=ground)


def labelled_segments(scene: Scene, split: str) -> list[int]:
    """Return the segments that annotations tell of: all of them, in training those of seen classes."""
    return [index for index, entry in enumerate(scene.classes) if entry.is_seen or split != "train"]


def _lookup(scene: Scene, values: Mapping[int, int], default: int) -> np.ndarray:
    """Paint each segment with its value (H, W), the others with ``default``."""
    return np.array([values.get(index, default) for index in range(len(scene.class_ids))])[scene.segment_map]


def _box(mask: np.ndarray) -> list[int]:
    """Return x, y, width, height of a mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


def _encode_ids(ids: np.ndarray) -> np.ndarray:
    """Write ids (H, W) as R + 256 G + 65536 B -> (H, W, 3) uint8."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def _run_lengths(mask: np.ndarray) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def _write_scene(index: int, *, split: str, seed: int, folder: Path) -> dict:
    """Draw a scene, write its three pictures and return its entries for the JSON files."""
    scene = draw_split_scene(split, seed, index)
    image_id, name = index + 1, f"{index + 1:06d}"
    height, width = scene.segment_map.shape
    chosen = labelled_segments(scene, split)
    ids = {segment: (scene.class_ids[segment] + 1) * _CLASS_STEP + segment for segment in chosen}
    labels = _lookup(scene, {segment: scene.class_ids[segment] for segment in chosen}, IGNORED)
    Image.fromarray(scene.image).save(folder / "images" / LONG_NAMES[split] / f"{name}.jpg", quality=95, subsampling=0)
    Image.fromarray(labels.astype(np.uint8)).save(folder / "annotations_detectron2" / LONG_NAMES[split] / f"{name}.png")
    Image.fromarray(_encode_ids(_lookup(scene, ids, 0))).save(folder / f"panoptic_{split}" / f"{name}.png")
    segments, instances = [], []
    for segment in chosen:
        mask = scene.segment_map == segment
        shared = {"category_id": scene.class_ids[segment], "area": int(mask.sum()), "bbox": _box(mask), "iscrowd": 0}
        segments.append({"id": int(ids[segment]), **shared})
        if CLASSES[scene.class_ids[segment]].is_thing:
            instances.append({"image_id": image_id, **shared, "segmentation": _run_lengths(mask)})
    rng = np.random.default_rng([seed, _SPLIT_SEEDS[split], index, 1])
    entries = [CLASSES[scene.class_ids[segment]] for segment in chosen]
    things, grounds = [e for e in entries if e.is_thing], [e for e in entries if not e.is_thing]
    return {
        "image": {"id": image_id, "file_name": f"{name}.jpg", "height": height, "width": width},
        "panoptic": {"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments},
        "instances": instances,
        "captions": [describe(things, grounds, rng) for _ in range(_CAPTIONS_PER_IMAGE)],
    }


def _numbered(entries: list[dict]) -> list[dict]:
    return [{"id": number, **entry} for number, entry in enumerate(entries, start=1)]


def _write_json(path: Path, content: dict) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content))


def _write_tables(folder: Path, split: str, written: list[dict]) -> None:
    """Write the panoptic, instance and caption files of a split."""
    chosen = [entry for entry in CLASSES if entry.is_seen or split != "train"]
    categories = [
        {"id": entry.id, "name": entry.names[0], "isthing": int(entry.is_thing), "supercategory": entry.words[-1]}
        for entry in chosen
    ]
    shared = {
        "info": {"description": f"toy world, {split}", "version": str(VERSION)},
        "images": [w["image"] for w in written],
    }
    _write_json(
        folder / f"panoptic_{split}.json",
        {**shared, "annotations": [w["panoptic"] for w in written], "categories": categories},
    )
    things = [{key: c[key] for key in ("id", "name", "supercategory")} for c in categories if c["isthing"]]
    instances = _numbered([instance for w in written for instance in w["instances"]])
    _write_json(folder / f"instance_{split}.json", {**shared, "annotations": instances, "categories": things})
    captions = [{"image_id": w["image"]["id"], "caption": text} for w in written for text in w["captions"]]
    _write_json(folder / f"captions_{split}.json", {**shared, "annotations": _numbered(captions)})


def _clean_folders(folder: Path, split: str, count: int) -> None:
    """Make the folders of a split and remove pictures that the new world will not overwrite."""
    kept = {f"{index + 1:06d}" for index in range(count)}
    for part in (f"images/{LONG_NAMES[split]}", f"annotations_detectron2/{LONG_NAMES[split]}", f"panoptic_{split}"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for path in (folder / part).iterdir():
            if path.stem not in kept and path.suffix in (".jpg", ".png"):
                path.unlink()


def _is_finished(folder: Path, description: dict) -> bool:
    """Tell whether ``folder`` holds this very world (a damaged ``world.json`` counts as none)."""
    try:
        return json.loads((folder / "world.json").read_text()) == description
    except (FileNotFoundError, ValueError):
        return False


def make_world(
    root: Path,
    *,
    seed: int = 0,
    counts: Mapping[str, int] = DEFAULT_COUNTS,
    workers: int = 2,
    show_progress: bool = True,
) -> Path:
    """Make the toy world in ``root``/toy unless it is there already, and return that folder.

    Args:
        root: the folder of data sets.
        seed: of the world; scene i of a split depends on the seed, the split and i only.
        counts: number of scenes of ``train``, ``val`` and ``test``.
        workers: processes.
        show_progress: show a bar.

    Raises:
        UserError: a split is missing or unknown, or a count or the seed is negative.
    """
    if set(counts) != set(LONG_NAMES) or min(counts.values()) < 0 or seed < 0:
        raise UserError(
            f"the toy world needs counts >= 0 of train, val and test and a seed >= 0, got {dict(counts)}, seed {seed}"
        )
    folder = Path(root) / "toy"
    description = {"version": VERSION, "seed": seed, "counts": {split: int(counts[split]) for split in LONG_NAMES}}
    if _is_finished(folder, description):
        logger.info("toy world is in place: %s", folder)
        return folder
    (folder / "world.json").unlink(missing_ok=True)
    with (
        multiprocessing.Pool(max(workers, 1)) as pool,
        tqdm(total=sum(counts.values()), desc="toy world", unit="scene", disable=not show_progress) as bar,
    ):
        for split, count in description["counts"].items():
            _clean_folders(folder, split, count)
            written = []
            for entry in pool.imap(
                partial(_write_scene, split=split, seed=seed, folder=folder), range(count), chunksize=8
            ):
                written.append(entry)
                bar.update()
            _write_tables(folder, split, written)
    _write_json(folder / "world.json", description)
    return folder
