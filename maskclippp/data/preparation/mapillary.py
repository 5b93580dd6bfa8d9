"""Mapillary Vistas v1.2 (validation): nothing to convert; the panoptic JSON gets the place where it is looked for."""

from __future__ import annotations

import logging
from pathlib import Path

from maskclippp.data.annotations import read_panoptic_colours
from maskclippp.data.datasets.table import DATASETS
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.preparation.downloads import check_count, keep_existing, list_files, present_splits
from maskclippp.data.preparation.options import Options
from maskclippp.data.preparation.outputs import Job, LabelFile, convert, copy_file, verify
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.utils.parallel import run_all

logger = logging.getLogger(__name__)


def prepare(options: Options) -> None:
    """Check label maps and panoptic PNGs against pictures; put ``panoptic_2018.json`` where it is looked for.

    It is copied one folder up if it is only beside the PNGs.

    Raises:
        UserError: missing, broken or surplus files.
    """
    row = DATASETS["openvocab_mapillary_vistas_panoptic_val"]
    images, labels = options.root / row.image_root, options.root / row.sem_seg_root
    segments, json_file = options.root / row.panoptic_root, options.root / row.panoptic_json
    packed = segments / json_file.name
    source = json_file if json_file.exists() else packed
    present_splits({"Mapillary Vistas, validation": [images, labels, segments, source]})
    pictures = list_files(images, ".jpg")
    check_count(images, len(pictures), row.num_images, options)
    pairs = keep_existing([(path, labels / f"{path.stem}.png") for path in pictures], str(labels), options)
    coloured = keep_existing([(path, segments / f"{path.stem}.png") for path in pictures], str(segments), options)
    if source is packed:
        convert(copy_file, [Job(Path(packed), json_file)], options, json_file.name)
    verify(
        [LabelFile(label, image) for image, label in pairs],
        num_classes=len(load_vocabulary(row.vocabulary)),
        ignore_label=row.ignore_label,
        options=options,
        title="label maps, validation",
    )
    run_all(_check_segments, coloured, workers=options.workers, title="checking panoptic PNGs, validation")


def _check_segments(pair: tuple[Path, Path]) -> None:
    """Read the panoptic PNG of a picture."""
    image, segments = pair
    read_panoptic_colours(segments, size_hw=image_size_hw(image))
