"""Writing with torch, so that a full disk is told as one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

_PROBE_BYTES = 1 << 20


def save_torch(content: Any, path: Path) -> None:
    """Write ``content`` to ``path`` with torch.save.

    Raises:
        OSError: the disk is full, or may not be written; torch alone would speak of a position in its file.
    """
    try:
        torch.save(content, path)
    except RuntimeError:
        with open(path, "ab") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        raise
