"""The mapper for evaluation: the picture resized, the names of its ground-truth files kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from . import common
from .augmentations import ResizeShortestEdge


class InferenceMapper:
    """Reads and resizes the picture; annotation files are left to evaluators and ground-truth mask generators."""

    @configurable
    def __init__(self, *, augmentations: Sequence[T.Augmentation | T.Transform], image_format: str = "RGB") -> None:
        """Take plain parts.

        Args:
            augmentations: applied to the picture in this order.
            image_format: channel order of the picture, "RGB" or "BGR".
        """
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = False) -> dict[str, Any]:
        """Read INPUT.MIN_SIZE_TEST, MAX_SIZE_TEST and FORMAT."""
        resize = ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")
        return {"augmentations": [resize], "image_format": cfg.INPUT.FORMAT}

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record with ``image`` (3, h, w) uint8 and the original ``height`` and ``width``.

        Everything else of the record stays (``sem_seg_file_name``, ``pan_seg_file_name``, ``segments_info``, ...).

        Raises:
            UserError: unreadable picture, or of another size than the record says.
        """
        sample = dict(record)
        augmented = T.AugInput(common.read_record_image(sample, self.image_format))
        self.augmentations(augmented)
        sample["image"] = common.image_tensor(augmented.image)
        return sample
