"""Making a COCO panoptic set: PNGs of segment ids and one JSON file, written last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.utils.files import remove_leftovers
from maskclippp.utils.parallel import run_all

from .options import Options
from .outputs import Job, lists_images, write_image, write_json

logger = logging.getLogger(__name__)

Entry = dict[str, Any]


def make_panoptic_set(
    describe: Callable[[Job], tuple[np.ndarray, Entry, list[Entry]]],
    jobs: Sequence[Job],
    json_file: Path,
    categories: Sequence[Entry],
    options: Options,
    title: str,
) -> None:
    """Write the PNGs that are not there yet, and then the JSON file.

    Args:
        describe: returns for a job the segment ids (H, W), the image entry and the segments; the same ones each time,
            as the PNG of an earlier, interrupted call is kept.
        jobs: all pictures of the set.
        json_file: its file.
        categories: its categories.
        options: choices.
        title: for progress and log.

    Raises:
        UserError: some jobs failed; the JSON file is not written then.
    """
    if not options.overwrite and all(job.target.exists() for job in jobs) and lists_images(json_file, len(jobs)):
        logger.info("%s: %s and its PNGs are there", title, json_file.name)
        return
    for folder in {job.target.parent for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    results = run_all(_Maker(describe, options.overwrite), jobs, workers=options.workers, title=title)
    annotations = [
        {"image_id": image["id"], "file_name": job.target.name, "segments_info": segments}
        for job, (image, segments) in zip(jobs, results, strict=True)
    ]
    content = {"images": [image for image, _ in results], "annotations": annotations, "categories": list(categories)}
    write_json(content, json_file)
    logger.info("%s: %d pictures, %d segments", title, len(jobs), sum(len(segments) for _, segments in results))


def segment_entry(mask: np.ndarray, segment_id: int, category_id: int, is_crowd: bool = False) -> Entry:
    """Return the JSON entry of a segment with at least one pixel; mask (H, W) bool."""
    return {
        "id": segment_id,
        "category_id": category_id,
        "area": int(mask.sum()),
        "bbox": bounding_box(mask),
        "iscrowd": int(is_crowd),
    }


def image_entry(image_id: str, file_name: str, size_hw: tuple[int, int]) -> Entry:
    """Return the JSON entry of a picture."""
    return {"id": image_id, "file_name": file_name, "height": size_hw[0], "width": size_hw[1]}


def bounding_box(mask: np.ndarray) -> list[int]:
    """Return x, y, width, height in pixels of a mask (H, W) with at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


class _Maker:
    """Writes one PNG and returns its entries; a class, so that worker processes can be handed its choices."""

    def __init__(self, describe: Callable[[Job], tuple[np.ndarray, Entry, list[Entry]]], overwrite: bool) -> None:
        self.describe = describe
        self.overwrite = overwrite

    def __call__(self, job: Job) -> tuple[Entry, list[Entry]]:
        ids, image, segments = self.describe(job)
        if self.overwrite or not job.target.exists():
            # id = R + 256 G + 65536 B
            write_image(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8), job.target)
        return image, segments
