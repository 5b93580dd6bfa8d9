"""Masks that another program has written to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.config import configurable
from torch import Tensor

from ..data.annotations import read_masks
from ..structures import MaskSet
from ..utils.errors import UserError
from ..utils.paths import resolve
from .base import MaskGenerator
from .build import MASK_GENERATOR_REGISTRY
from .ground_truth import read_at_size


@MASK_GENERATOR_REGISTRY.register()
class OfflineSegmentor(MaskGenerator):
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

    def forward(
        self, records: list[dict[str, Any]], *, sizes: list[tuple[int, int]], features: dict[str, list[Tensor]]
    ) -> MaskSet:
        """Read the masks of each record; an empty list is an image without masks."""
        return MaskSet([self._read(record, size) for record, size in zip(records, sizes, strict=True)])

    def _read(self, record: dict[str, Any], size: tuple[int, int]) -> Tensor:
        path = self.folder / f"{Path(record['file_name']).stem}{self.suffix}"
        if not path.is_file():
            raise UserError(f"{record['file_name']}: its masks {path} are missing; write them there first")
        masks = read_masks(path, size_hw=(record["height"], record["width"]))
        return read_at_size(masks, record, size)
