"""The registry of training mappers and the one place that builds a mapper from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode

from maskclippp.utils.registry import Registry

from .inference import InferenceMapper

MAPPERS = Registry("DATASET_MAPPER")
MAPPERS.__doc__ = """
Training mappers by their published name (key INPUT.DATASET_MAPPER_NAME). A mapper is made with ``(cfg, is_train)`` and
called with a record (detectron2 dict); it returns a new dict with

* ``image``: (3, h, w) uint8 in the channel order INPUT.FORMAT, ``height`` and ``width`` of the original picture,
* ``instances``: ``Instances`` of size (h, w) with ``gt_classes`` (N,) int64 and ``gt_masks`` (N, h, w) bool;
  those of ``*_lsj`` have ``gt_boxes`` too.
"""


def build_mapper(cfg: CfgNode, is_train: bool) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the mapper that INPUT.DATASET_MAPPER_NAME names for training, the one inference mapper otherwise.

    Raises:
        UserError: unknown mapper name.
    """
    mapper = MAPPERS.get(cfg.INPUT.DATASET_MAPPER_NAME) if is_train else InferenceMapper
    return mapper(cfg, is_train)
