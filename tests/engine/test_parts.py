"""A step does not depend on how its batch is cut: into parts one after the other, over processes, or not at all.

In float64, with pictures without masks among the others, for MaskCLIP++ and Mask2Former.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from torch.nn.parallel import DistributedDataParallel

from maskclippp.config import load_config
from maskclippp.engine.seeding import Stream, derived_seed
from maskclippp.engine.trainer import Trainer, sum_divisors
from maskclippp.methods import Method
from tests.common import tiny_model, training_record
from tests.methods.test_mask2former import TINY

LABELS = [[0, 2, 2], [1], [], [2, 0]]
METHODS = ("MaskCLIPpp", "Mask2Former")


def make_method(name: str) -> Method:
    torch.manual_seed(0)
    if name == "MaskCLIPpp":
        return tiny_model(text={"finetune_type": "attention"}).double().train()
    pairs = [str(part) for pair in TINY.items() for part in pair]
    return build_model(load_config("", pairs)).double().train()


def make_batch() -> list[dict]:
    """Four samples, one without a mask, of two sizes; each with draws of its own."""
    batch = []
    for position, labels in enumerate(LABELS):
        record = training_record(64, 64 if position != 1 else 96, labels, seed=position)
        record["image"] = record["image"].double()
        batch.append(record | {"draw_seed": derived_seed(7, Stream.SAMPLE, position)})
    return batch


def step(name: str, batches: list[list[list[dict]]], world: int = 1) -> dict[str, torch.Tensor]:
    """Run steps of plain gradient descent on batches in parts; return the change of each parameter and the losses."""
    method = make_method(name)
    before = {
        key: parameter.detach().clone() for key, parameter in method.named_parameters() if parameter.requires_grad
    }
    tuned = [parameter for parameter in method.parameters() if parameter.requires_grad]
    trainer = Trainer(
        method,
        method if world == 1 else DistributedDataParallel(method, broadcast_buffers=False),
        [part for parts in batches for part in parts],
        torch.optim.SGD(tuned, lr=1.0),
        scaler=torch.amp.GradScaler("cuda", enabled=False),
        seed=3,
        accumulation=len(batches[0]),
    )
    trainer.train(0, len(batches))
    found = {key: parameter.detach() - before[key] for key, parameter in method.named_parameters() if key in before}
    return found | {"loss": torch.tensor(trainer.storage.history("total_loss").latest())}


def one_of_two(rank: int, folder: str, port: int) -> None:
    """Run a step of each method as one of two processes, each with half of the batch."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    half = make_batch()[2 * rank : 2 * rank + 2]
    torch.save({name: step(name, [[half]], world=2) for name in METHODS}, Path(folder, f"{rank}.pth"))
    torch.distributed.destroy_process_group()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert sum(float(each.abs().sum()) for each in expected.values()) > 0
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, rtol=1e-10, atol=1e-10, msg=lambda told, key=key: f"{key}: {told}"
        )


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_in_parts(name):
    batch = make_batch()
    whole = step(name, [[batch]])
    assert_equal(step(name, [[batch[:2], batch[2:]]]), whole)
    assert_equal(step(name, [[[each] for each in batch]]), whole)  # one part has no mask at all


def test_a_batch_on_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path), port), nprocs=2)
    whole = {name: step(name, [[make_batch()]]) for name in METHODS}
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        for name in METHODS:
            assert_equal(found[name], whole[name])


def test_divisors_add_up():
    parts = [{"masks": 2.0, "images": torch.tensor(1)}, {"masks": 0.0, "images": torch.tensor(2)}]
    totals = sum_divisors(parts, torch.device("cpu"))
    assert totals["masks"] == 2.0 and int(totals["images"]) == 3
