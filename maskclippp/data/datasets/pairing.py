"""Pictures and label maps of a semantic dataset, paired by the published rule."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from maskclippp.data.layouts import list_files

logger = logging.getLogger(__name__)


def pair_files(images: Path, labels: Path, *, image_ext: str, label_ext: str) -> list[dict[str, str]]:
    """Return ``file_name`` and ``sem_seg_file_name`` of each picture that has a label map.

    As many pictures as label maps are paired in the order of their names; otherwise those of equal names are. Endings
    count in small and capital letters, hidden files do not.

    Args:
        images: folder of pictures.
        labels: folder of label maps.
        image_ext: end of the names of pictures.
        label_ext: end of the names of label maps.

    Raises:
        UserError: two files of a folder differ by capital letters of their ending only.
    """
    pictures, maps = (
        sorted(list_files(folder, ending), key=lambda path: os.path.splitext(path.name)[0])
        for folder, ending in ((images, image_ext), (labels, label_ext))
    )
    if len(pictures) != len(maps):
        logger.warning("%s holds %d pictures, %s %d label maps", images, len(pictures), labels, len(maps))
        by_stem = {path.name[: -len(image_ext)]: path for path in pictures}
        pairs = sorted((stem, path) for path in maps if (stem := path.name[: -len(label_ext)]) in by_stem)
        pictures, maps = [by_stem[stem] for stem, _ in pairs], [path for _, path in pairs]
        logger.warning("the %d of equal names are used", len(pairs))
    return [
        {"file_name": str(picture), "sem_seg_file_name": str(labels)}
        for picture, labels in zip(pictures, maps, strict=True)
    ]
