"""Sizes and modification times of the files that an evaluation reads, to notice that one of them was changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from maskclippp.utils.paths import resolve

Stamp = tuple[int, int] | None
"""Bytes and nanoseconds of the last modification; None: there is no such file."""


def stamp(path: str) -> Stamp:
    """Return the stamp of a file; links are followed, and a folder has none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def evaluation_stamps(
    cfg: Mapping[str, Any], records: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]
) -> dict[str, Stamp]:
    """Return the stamps of all files that can change a number of an evaluation.

    Args:
        cfg: every value that is the path of a file counts, and all files of SEGMENTOR.OFFLINE_ANN_DIR.
        records: every value that is text counts: pictures, label maps, panoptic PNGs.
        metadata: every value that is text counts: annotation files; and all files below "gt_dir", which the evaluation
            of Cityscapes reads.
    """
    from_cfg = (resolve(text) for text in _texts(cfg))
    from_records = (value for record in records for value in record.values() if isinstance(value, str))
    from_metadata = (value for value in metadata.values() if isinstance(value, str))
    found = {path: stamp(path) for paths in (from_cfg, from_records, from_metadata) for path in paths}
    for folder in (*_offline_masks(cfg), metadata.get("gt_dir")):
        found.update(_below(folder) if folder else ())
    return found


def _texts(node: Any) -> Iterator[str]:
    """All texts in nested dicts and lists."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (Mapping, CfgNode)):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _texts(value)


def _offline_masks(cfg: Mapping[str, Any]) -> Iterable[str]:
    """Both places where the OfflineSegmentor looks for its folder."""
    source = cfg["MODEL"]["MASKCLIPPP"]["SEGMENTOR"]["OFFLINE_ANN_DIR"]
    if not source:
        return ()
    root = Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()
    return str(resolve(source)), str(root / resolve(source))


def _below(folder: str) -> Iterator[tuple[str, Stamp]]:
    """The folder may be a file."""
    yield folder, stamp(folder)
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            yield path, stamp(path)
