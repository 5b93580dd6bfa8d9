"""Masks that another program has written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import configurable

from ..data.annotations import read_masks
from ..utils.errors import UserError
from ..utils.paths import resolve
from .base import FileMaskGenerator
from .build import MASK_GENERATOR_REGISTRY


@MASK_GENERATOR_REGISTRY.register()
class OfflineSegmentor(FileMaskGenerator):
    """Reads ``<folder>/<image stem><suffix>``; see :func:`maskclippp.data.annotations.read_masks` for the formats.

    Args:
        folder: where the mask files are.
        suffix: end of the file name: ".json", ".png" or ".npy", perhaps with something before the dot.
    """

    @configurable
    def __init__(self, *, folder: str, suffix: str) -> None:
        super().__init__()
        self.folder = Path(resolve(folder))
        self.suffix = suffix
        if not folder or not self.folder.is_dir():
            raise UserError(f"SEGMENTOR.OFFLINE_ANN_DIR '{folder}' is not a folder; it must hold the mask files")

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read the SEGMENTOR config node."""
        node = cfg.MODEL.MASKCLIPPP.SEGMENTOR
        return {"folder": node.OFFLINE_ANN_DIR, "suffix": node.OFFLINE_ANN_SUFFIX}

    def read(self, record: dict[str, Any]) -> np.ndarray:
        """Return the masks of one record; an empty list is an image without masks."""
        path = self.folder / f"{Path(record['file_name']).stem}{self.suffix}"
        if not path.is_file():
            raise UserError(f"{record['file_name']}: its masks {path} are missing; write them there first")
        return read_masks(path, size_hw=(record["height"], record["width"]))
