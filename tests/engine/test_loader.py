"""The training stream is a function of seed and position."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maskclippp.engine.loader import CheckedLoader, PositionBatches, TrainingStream, as_list
from maskclippp.utils.errors import UserError

RECORDS = [{"file_name": f"{index}.jpg", "index": index} for index in range(7)]


def noisy(record):
    """A mapper that draws from all three sources; record 5 is of no use."""
    if record["index"] == 5:
        return None
    return {"index": record["index"], "noise": (random.random(), np.random.rand(), torch.rand(()).item())}


def batches(start=0, stop=6, batch_size=4, rank=0, world_size=1, workers=0, mapper=noisy, seed=1):
    positions = PositionBatches(start=start, stop=stop, batch_size=batch_size, rank=rank, world_size=world_size)
    stream = TrainingStream(RECORDS, mapper, seed)
    return list(CheckedLoader(DataLoader(stream, batch_sampler=positions, num_workers=workers, collate_fn=as_list)))


def test_workers_and_start_change_nothing():
    whole = batches()
    assert batches(workers=2) == whole
    assert batches(start=4) == whole[4:]
    assert batches(seed=2) != whole
    assert len({sample["noise"] for batch in whole for sample in batch}) == 24


def test_ranks_share_the_batch():
    parts = [batches(rank=rank, world_size=2) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == batches()


def test_every_epoch_has_every_record_once_in_another_order():
    stream = TrainingStream(RECORDS, noisy, 1)
    epochs = [[stream.record_index(7 * epoch + place) for place in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_refused_records_get_a_substitute():
    indices = [sample["index"] for batch in batches(stop=20) for sample in batch]
    assert len(indices) == 80 and 5 not in indices


def test_refusing_all_is_an_error():
    with pytest.raises(UserError, match=r"refused 100 records one after the other, last \d.jpg"):
        batches(mapper=lambda record: None)


def complaining(record):
    raise UserError(f"{record['file_name']}: truncated")


@pytest.mark.parametrize("workers", [0, 2])
def test_wrong_input_in_a_worker_stays_one_line(workers):
    with pytest.raises(UserError, match=r"^\d.jpg: truncated$"):
        batches(mapper=complaining, workers=workers)


def test_errors():
    with pytest.raises(UserError, match="IMS_PER_BATCH 4 is no multiple of the 3 processes"):
        batches(world_size=3)
    with pytest.raises(UserError, match="no picture with something to learn"):
        TrainingStream([], noisy, 1)


def test_stream_goes_to_spawned_workers():
    """Processes of a multi-GPU run are spawned, and spawn their workers; so what those get must be picklable."""
    stream = TrainingStream(RECORDS, noisy, seed=1)
    copy = pickle.loads(pickle.dumps(stream))
    assert [copy[position] for position in range(9)] == [stream[position] for position in range(9)]
