"""Paths that lead to no file: devices, pipes, folders, loops, names that no system knows; for every reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from maskclippp.config import load_config
from maskclippp.data.annotations import read_json, read_label_map, read_panoptic_ids
from maskclippp.data.datasets import get_metadata
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.images import read_image
from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.data.preparation.downloads import read_stems
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.data.vocabularies.check import check_vocabulary, read_classes
from maskclippp.mask_generators.offline import OfflineSegmentor
from maskclippp.utils.checkpoint_io import read_checkpoint
from maskclippp.utils.open_clip_models import create_clip

from .case import Case, Surroundings

_RECORD = {"file_name": "a", "height": 1, "width": 1}
_READERS: tuple[tuple[Callable[[str], Any], str], ...] = (
    (load_config, ".yaml"),
    (read_checkpoint, ".pth"),
    (read_checkpoint, ".pkl"),
    (read_checkpoint, ".safetensors"),
    (lambda path: create_clip("toy-clip", path), ".pt"),
    (read_image, ".jpg"),
    (image_size_hw, ".png"),
    (read_label_map, ".png"),
    (read_panoptic_ids, ".png"),
    (read_json, ".json"),
    (read_masks, ".json"),
    (read_masks, ".npy"),
    (read_masks, ".png"),
    (MaskTable.read, ".json"),
    (load_vocabulary, ".tsv"),
    (read_classes, ".txt"),
    (lambda path: check_vocabulary(path).lines(), ".txt"),
    (get_metadata, ".yaml"),
    (get_metadata, ".json"),
    (lambda path: read_stems(Path(path)), ".txt"),
    (lambda path: OfflineSegmentor(source=path, suffix=".png").read(_RECORD, None), ""),
)


def place_case(around: Surroundings) -> Case:
    """A reader and a path that it cannot read."""
    rng = around.rng
    reader, suffix = rng.choice(_READERS)
    path = rng.choice(
        (_device, _pipe, _folder, _loop, _long, _deep, _zero, _nobody, _other, _empty, _archive, _beyond)
    )(around, suffix)
    return Case(lambda: reader(path))


def _device(around: Surroundings, suffix: str) -> str:
    link = around.folder / f"a{suffix}"
    link.symlink_to(around.rng.choice(("/dev/zero", "/dev/null", "/dev/random", "/dev/full")))
    return around.rng.choice((str(link), "/dev/zero"))


def _pipe(around: Surroundings, suffix: str) -> str:
    os.mkfifo(around.folder / f"a{suffix}")
    return str(around.folder / f"a{suffix}")


def _folder(around: Surroundings, suffix: str) -> str:
    (around.folder / f"a{suffix}").mkdir()
    return str(around.folder / f"a{suffix}")


def _loop(around: Surroundings, suffix: str) -> str:
    (around.folder / f"a{suffix}").symlink_to(around.folder / f"a{suffix}")
    return str(around.folder / f"a{suffix}")


def _long(around: Surroundings, suffix: str) -> str:
    return str(around.folder / f"{'n' * 300}{suffix}")


def _deep(around: Surroundings, suffix: str) -> str:
    return f"{around.folder}/{'d/' * 3000}a{suffix}"


def _zero(around: Surroundings, suffix: str) -> str:
    return f"{around.folder}/a\0b{suffix}"


def _nobody(around: Surroundings, suffix: str) -> str:
    return f"~nobody-at-all/a{suffix}"


def _other(around: Surroundings, suffix: str) -> str:
    return f"{around.folder}/\udcff\ud800{suffix}"


def _empty(around: Surroundings, suffix: str) -> str:
    (around.folder / f"a{suffix}").touch()
    return str(around.folder / f"a{suffix}")


def _archive(around: Surroundings, suffix: str) -> str:
    np.savez(around.folder / "a.npz", np.zeros((2, 2), dtype=np.int32))
    (around.folder / "a.npz").rename(around.folder / f"a{suffix}")
    return str(around.folder / f"a{suffix}")


def _beyond(around: Surroundings, suffix: str) -> str:
    """A file of a size that no disk has: nothing but a hole."""
    with open(around.folder / f"a{suffix}", "wb") as file:
        file.truncate(1 << 42)
    return str(around.folder / f"a{suffix}")
