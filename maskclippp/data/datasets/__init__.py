"""Datasets: rows of facts, loaders that turn files into records, and one call that registers them all."""

from .register import get_dataset, get_metadata, open_dataset, register_all
from .row import DatasetRow
from .table import DATASETS

__all__ = ["DATASETS", "DatasetRow", "get_dataset", "get_metadata", "open_dataset", "register_all"]
