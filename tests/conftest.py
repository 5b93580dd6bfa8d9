"""Fixtures shared by all rooms."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root_dir() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of facts beside the repository (specs, golden cases, manifests); skips the test where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs {folder.name}/ beside the repository")
    return folder


@pytest.fixture(autouse=True)
def _log_reaches_caplog(monkeypatch) -> None:
    """A test that sets up the log of a job stops the package's logger from propagating; caplog listens at the root."""
    monkeypatch.setattr(logging.getLogger("maskclippp"), "propagate", True)
