"""The vocabularies that a config asks for."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata

from maskclippp.utils.errors import UserError

from .register import get_metadata


def train_metadata(cfg: CfgNode) -> Metadata:
    """Return the metadata of DATASETS.TRAIN[0]: the vocabulary of the labels, whose classes count as seen.

    Raises:
        UserError: no training dataset is configured, or an unknown one.
    """
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty; name the training dataset there (evaluation too needs its classes)")
    return get_metadata(cfg.DATASETS.TRAIN[0])


def test_metadata(cfg: CfgNode) -> Metadata:
    """Return the metadata of DATASETS.TEST[0]; where nothing is tested, of the training dataset.

    Raises:
        UserError: neither is configured, or it is unknown.
    """
    return get_metadata(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else train_metadata(cfg)


test_metadata.__test__ = False  # for pytest
