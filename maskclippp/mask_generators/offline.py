"""Masks that another program has written to files."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import configurable

from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.data.names import output_of, own_names
from maskclippp.structures import MaskRules
from maskclippp.utils.errors import UserError
from maskclippp.utils.paths import resolve

from .base import FileMaskGenerator
from .build import MASK_GENERATOR_REGISTRY


@MASK_GENERATOR_REGISTRY.register()
class OfflineSegmentor(FileMaskGenerator):
    """Reads ``<folder>/<image><suffix>`` for each image, or one file for all.

    An image is called by its path below the folder of images, with or without its suffix, or by a last part of that
    path (``0001`` for ``seq1/0001.jpg``), if it fits no other image of the dataset.

    The formats are those of :func:`maskclippp.data.mask_files.read_masks` and
    :class:`maskclippp.data.mask_files.MaskTable`.

    Args:
        source: the folder of the mask files, or a JSON file with the masks of all images; here, else among the
            datasets ($DETECTRON2_DATASETS).
        suffix: end of the file names in a folder: ".json", ".png" or ".npy", perhaps with something before the dot.
    """

    rules = MaskRules(solid=True, uncovered_is_void=True)  # masks of objects, as of SAM, leave most of a picture free

    @configurable
    def __init__(self, *, source: str, suffix: str = "") -> None:
        super().__init__()
        self.source = Path(resolve(source))
        self.suffix = suffix
        if not os.path.exists(self.source):
            self.source = Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser() / self.source
        if not source or not os.path.exists(self.source):
            raise UserError(
                f"SEGMENTOR.OFFLINE_ANN_DIR '{source}' is not a folder, nor a file; it must hold the mask files, or be "
                "a JSON file with the masks of all images"
            )

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read the SEGMENTOR config node."""
        node = cfg.MODEL.MASKCLIPPP.SEGMENTOR
        return {"source": node.OFFLINE_ANN_DIR, "suffix": node.OFFLINE_ANN_SUFFIX}

    @cached_property
    def table(self) -> MaskTable:
        """The content of a file for all images; read when the first image comes."""
        return MaskTable.read(self.source)

    def read(self, record: dict[str, Any], ignore_label: int | None) -> np.ndarray:
        """Return the masks of one record; an empty list is an image without masks."""
        if os.path.isfile(self.source):
            return self.table.masks(record)
        names = own_names(record)
        paths = [self.source / f"{name}{self.suffix}" for name in names]
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is None:
            wanted = self.source / f"{output_of(names)}{self.suffix}"
            raise UserError(f"{record['file_name']}: its masks {wanted} are missing; write them there first")
        return read_masks(path, size_hw=(record["height"], record["width"]))
