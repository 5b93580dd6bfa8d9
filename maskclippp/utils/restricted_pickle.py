"""Reading detectron2's ``.pkl`` weights: NumPy arrays, tensors and plain containers, nothing that runs code."""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .files import open_regular


def load_pickle(path: str | Path) -> Any:
    """Return what a pickle of arrays, tensors and plain containers holds (text of Python 2 is read as latin-1).

    Raises:
        UserError: no regular file.
        pickle.UnpicklingError: it names anything else, or is damaged.
    """
    with open_regular(path) as file:
        try:
            return _Unpickler(file, encoding="latin1").load()
        except pickle.UnpicklingError:
            raise
        # What a damaged pickle hands to the functions below can make them fail in any way.
        except Exception as error:
            raise pickle.UnpicklingError(f"damaged: {type(error).__name__}") from None


def _storage_from_bytes(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text encoding {encoding}")
    return text.encode(encoding)


_NDARRAY = object()
"""Stands for NumPy's class, which a pickle of weights names and does not call."""


def _empty_array(kind: Any, shape: tuple[int, ...], _typecode: bytes) -> np.ndarray:
    """The array whose content follows. NumPy itself would make room for whatever shape stands here."""
    if kind is not _NDARRAY or shape != (0,):
        raise pickle.UnpicklingError("an array that does not begin empty")
    return np.empty(0, dtype=np.uint8)


_SCALAR = np.float32(0).__reduce__()[0]

_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _empty_array), ("scalar", _SCALAR))
    },
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage_from_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of weights") from None
