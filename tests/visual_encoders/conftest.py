"""Fixtures of the visual encoder tests."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest


@pytest.fixture
def published_keys(shared_dir) -> Callable[[str, str], dict[str, tuple[int, ...]]]:
    """Read the shapes by key of a published checkpoint, below a prefix."""

    def read(name: str, prefix: str) -> dict[str, tuple[int, ...]]:
        manifest = json.loads((shared_dir / "manifests" / f"{name}.json").read_text(encoding="utf-8"))
        return {key.removeprefix(prefix): tuple(shape) for key, shape, _ in manifest["keys"] if key.startswith(prefix)}

    return read
