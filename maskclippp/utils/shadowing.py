"""A folder of data named ``datasets`` is no package, though Python takes it for one in the folder that holds it.

Packages that offer more where Hugging Face's ``datasets`` is installed, transformers among them, would import from it.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

_NAME = "datasets"
_OURS = "prepare_ade20k_sem_seg.py"


def hide_data_folder() -> None:
    """Make ``import datasets`` fail where all that it finds is a folder of data or of this repository's scripts.

    An installed package of that name, and folders with Python files of somebody else's, are left alone.
    """
    if sys.modules.get(_NAME, find_spec) is None:
        return
    try:
        spec = find_spec(_NAME)
    except (ImportError, ValueError):  # somebody's own way of importing
        return
    if spec is not None and _is_data(spec):
        sys.modules[_NAME] = None  # Python's way to say that there is no such module


def _is_data(spec: ModuleSpec) -> bool:
    """Whether a package is made of folders without code of their own."""
    if spec.origin is not None or spec.submodule_search_locations is None:
        return False
    folders = [Path(location) for location in spec.submodule_search_locations]
    return all((folder / _OURS).is_file() or not _has_code(folder) for folder in folders)


def _has_code(folder: Path) -> bool:
    return any(True for pattern in ("*.py", "*/__init__.py") for _ in folder.glob(pattern))
