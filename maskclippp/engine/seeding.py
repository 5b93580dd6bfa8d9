"""Random numbers as a function of (seed, what for, which one), so that a resumed run draws what a whole one would."""

from __future__ import annotations

import random
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from detectron2.utils import comm

from maskclippp.utils.dist import broadcast_object
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

SEED_FILE = "seed.txt"


class Stream(IntEnum):
    """What random numbers are for; two streams never share numbers."""

    INITIALISATION = 0
    ORDER = 1
    AUGMENTATION = 2
    STEP = 3
    SUBSTITUTE = 4
    PART = 5
    SAMPLE = 6


def seed_everything(seed: int, stream: Stream, *which: int) -> None:
    """Seed ``random``, NumPy and torch (all devices) for one purpose and one index of it."""
    for_python, for_numpy, for_torch = np.random.SeedSequence((seed, stream, *which)).generate_state(3)
    random.seed(int(for_python))
    np.random.seed(for_numpy)
    torch.manual_seed(int(for_torch))


def derived_seed(seed: int, stream: Stream, *which: int) -> int:
    """Return a seed for one purpose and one index of it, 0 to 2^63 - 1."""
    return int(np.random.SeedSequence((seed, stream, *which)).generate_state(1, np.uint64)[0] >> 1)


def draw_index(size: int, seed: int, stream: Stream, *which: int) -> int:
    """A random index below ``size`` without touching any global random state."""
    return int(np.random.SeedSequence((seed, stream, *which)).generate_state(1, np.uint64)[0] % size)


def permutation(size: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the data in one epoch, (size,) int64."""
    state = np.random.SeedSequence((seed, Stream.ORDER, epoch)).generate_state(1)[0]
    return torch.randperm(size, generator=torch.Generator().manual_seed(int(state)))


def settle_seed(seed: int, output_dir: str | Path, *, resume: bool) -> int:
    """Return the run's seed, the same on every rank, and keep it in the output folder.

    A negative ``seed`` means: the one that the folder remembers when resuming, else a new random one.

    Raises:
        UserError: the remembered seed is not a number.
    """
    if comm.is_main_process():
        file = Path(output_dir) / SEED_FILE
        if seed < 0:
            remembered = file.read_text().strip() if resume and file.exists() else None
            if remembered is not None and not remembered.isdigit():
                raise UserError(f"{file}: expected the run's seed, found '{remembered[:40]}'; remove it or set SEED")
            seed = int(remembered) if remembered else int(np.random.SeedSequence().generate_state(1)[0])
        with atomic_write(file) as temporary:
            temporary.write_text(f"{seed}\n")
    return broadcast_object(seed)
