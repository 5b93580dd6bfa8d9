"""Data loaders. The training one is a function of (seed, position), so a resumed run sees what a whole one would see.

The stream of training samples is numbered 0, 1, 2, ...; the batch of iteration i holds positions i*B ... i*B+B-1, split
evenly among the ranks, and there among the parts that are accumulated. A position's record comes from its epoch's
permutation, its augmentation from random numbers seeded with the position, and so do the draws of a training step that
are a picture's own ("draw_seed"); so neither the number of workers or processes nor a restart changes anything. Images
are not grouped by aspect ratio: the encoders pad or resize every picture themselves, and grouping would make the order
depend on all batches before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, build_detection_test_loader
from detectron2.data.build import filter_images_with_only_crowd_annotations
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from maskclippp.data.datasets import get_dataset, get_metadata
from maskclippp.data.mappers import build_mapper
from maskclippp.utils.errors import UserError

from .seeding import Stream, derived_seed, draw_index, permutation, seed_everything

Record = dict[str, Any]
Mapper = Callable[[Record], Record | None]

MAX_SUBSTITUTES = 100

logger = logging.getLogger(__name__)

# Not an attribute of the stream, which goes to spawned workers as a pickle.
_permutation = lru_cache(maxsize=2)(permutation)


class WrongInput:
    """A :class:`UserError` on its way out of a loader's process, where an exception would be buried in a traceback."""

    def __init__(self, error: UserError) -> None:
        self.message = str(error)


class TrainingStream(Dataset):
    """The numbered, endless stream of training samples.

    Args:
        records: detectron2 dicts.
        mapper: record -> sample, or None where the record is of no use; then another one is drawn for the position.
        seed: of order and augmentation, >= 0.
    """

    def __init__(self, records: Sequence[Record], mapper: Mapper, seed: int) -> None:
        if not records:
            raise UserError(
                "DATASETS.TRAIN has no picture with something to learn: those without annotations or with crowds only "
                "are left out; name a dataset that has others"
            )
        self._records = DatasetFromList(list(records), copy=False)
        self._mapper = mapper
        self._seed = seed

    def __getitem__(self, position: int) -> Record | WrongInput:
        seed_everything(self._seed, Stream.AUGMENTATION, position)
        try:
            for attempt in range(MAX_SUBSTITUTES):
                record = self._records[self.record_index(position, attempt)]
                sample = self._mapper(record)
                if sample is not None:
                    return sample | {"draw_seed": derived_seed(self._seed, Stream.SAMPLE, position)}
        except UserError as error:
            return WrongInput(error)
        name = record.get("file_name", "?")
        return WrongInput(UserError(f"the mapper refused {MAX_SUBSTITUTES} records one after the other, last {name}"))

    def record_index(self, position: int, attempt: int = 0) -> int:
        """The record of a position; from the second attempt on, a substitute for one that the mapper refused."""
        size = len(self._records)
        if attempt:
            return draw_index(size, self._seed, Stream.SUBSTITUTE, position, attempt)
        epoch, place = divmod(position, size)
        return int(_permutation(size, self._seed, epoch)[place])


class PositionBatches:
    """One rank's positions for each iteration from ``start`` to ``stop``, in ``parts`` lists for each."""

    def __init__(self, *, start: int, stop: int, batch_size: int, rank: int, world_size: int, parts: int = 1) -> None:
        if batch_size % (world_size * parts) or batch_size < 1:
            raise UserError(
                f"SOLVER.IMS_PER_BATCH {batch_size} is no multiple of the {world_size} processes"
                + (f" times SOLVER.ACCUMULATION_STEPS {parts}" if parts > 1 else "")
            )
        self._iterations = range(start, stop)
        self._batch_size = batch_size
        self._share = batch_size // (world_size * parts)
        self._rank = rank
        self._parts = parts

    def __len__(self) -> int:
        return len(self._iterations) * self._parts

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in self._iterations:
            for part in range(self._rank * self._parts, (self._rank + 1) * self._parts):
                first = iteration * self._batch_size + part * self._share
                yield list(range(first, first + self._share))


class CheckedLoader:
    """A loader that raises the wrong inputs which its workers met."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[Record]]:
        for batch in self._loader:
            for sample in batch:
                if isinstance(sample, WrongInput):
                    raise UserError(sample.message)
            yield batch


class _ReportingMapper:
    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper

    def __call__(self, record: Record) -> Record | WrongInput | None:
        try:
            return self._mapper(record)
        except UserError as error:
            return WrongInput(error)


def as_list(batch: list[Record]) -> list[Record]:
    """Collate nothing: a batch is a list of samples."""
    return batch


def build_train_loader(cfg: CfgNode, *, seed: int, start_iteration: int) -> CheckedLoader:
    """Return the batches of this rank from ``start_iteration`` to SOLVER.MAX_ITER, each in its parts.

    Raises:
        UserError: no training dataset, one without usable records, or a batch size that the ranks cannot share.
    """
    stream = TrainingStream(_training_records(cfg), build_mapper(cfg, is_train=True), seed)
    batches = PositionBatches(
        start=start_iteration,
        stop=cfg.SOLVER.MAX_ITER,
        batch_size=cfg.SOLVER.IMS_PER_BATCH,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
        parts=cfg.SOLVER.ACCUMULATION_STEPS,
    )
    workers = cfg.DATALOADER.NUM_WORKERS
    return CheckedLoader(DataLoader(stream, batch_sampler=batches, num_workers=workers, collate_fn=as_list))


def build_test_loader(cfg: CfgNode, records: list[Record], skip: int = 0) -> CheckedLoader:
    """Return the records of a test dataset, resized, one by one; each rank gets its share, without the first ``skip``.

    Raises:
        UserError: unknown mapper.
    """
    loader = build_detection_test_loader(
        records,
        sampler=list(InferenceSampler(len(records)))[skip:],
        mapper=_ReportingMapper(build_mapper(cfg, is_train=False)),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return CheckedLoader(loader)


def _training_records(cfg: CfgNode) -> list[Record]:
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty; name the training dataset there")
    allow_incomplete = cfg.DATASETS.ALLOW_INCOMPLETE
    records = []
    for name in cfg.DATASETS.TRAIN:
        if not get_metadata(name).get("has_annotations", True):
            raise UserError(f"dataset '{name}' has pictures and class names only; training needs annotations as well")
        records += get_dataset(name, allow_incomplete=allow_incomplete)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and records and "annotations" in records[0]:
        records = filter_images_with_only_crowd_annotations(records)
    logger.info("%d training records from %s", len(records), ", ".join(cfg.DATASETS.TRAIN))
    return records
