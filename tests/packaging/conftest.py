"""The build backend of third_party/detectron2 as modules, and the sdist it works on."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def build_folder(root_dir: Path) -> Path:
    """third_party/detectron2."""
    return root_dir / "third_party" / "detectron2"


@pytest.fixture(scope="session")
def edits(build_folder: Path) -> ModuleType:
    """The backend's list of edits."""
    return _import_from(build_folder, "edits")


@pytest.fixture(scope="session")
def backend(build_folder: Path, edits: ModuleType) -> ModuleType:
    """The PEP 517 backend."""
    return _import_from(build_folder, "backend")


@pytest.fixture(scope="session")
def sdist(backend: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of detectron2 0.6, downloaded once; skips where that is impossible."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "15"}.items():
            patch.setitem(os.environ, name, value)
        try:
            return backend.find_sdist(tmp_path_factory.mktemp("sdist"))
        except backend.BuildError as error:
            last_line = str(error).splitlines()[-1]
            pytest.skip(f"no sdist of detectron2 at hand (set {backend.SDIST_VARIABLE}=FILE): {last_line}")


def _import_from(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
