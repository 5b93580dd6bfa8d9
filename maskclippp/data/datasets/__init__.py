"""Datasets: rows of facts, loaders that turn files into records, and one call that registers them all."""

from .aliases import ALIASES
from .ignore import default_ignore_label, ignore_label_of
from .register import get_dataset, get_metadata, open_dataset, register_all
from .row import DatasetRow
from .table import DATASETS

__all__ = [
    "ALIASES",
    "DATASETS",
    "DatasetRow",
    "default_ignore_label",
    "get_dataset",
    "get_metadata",
    "ignore_label_of",
    "open_dataset",
    "register_all",
]
