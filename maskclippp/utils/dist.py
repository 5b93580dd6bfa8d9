"""Several processes as one job: GPUs of one or more machines, or CPU processes; started here or by torchrun."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from .errors import UserError

TIMEOUT = timedelta(minutes=30)
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Group:
    """The processes of a job.

    Attributes:
        per_machine: processes on each machine, one per GPU or CPU process.
        num_machines: machines.
        machine_rank: index of this machine.
        on_gpu: one GPU each, with the backend nccl; else the CPU, with gloo.
        url: where they meet: "auto" (one machine only), ``tcp://HOST:PORT`` or ``env://``.
    """

    per_machine: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    on_gpu: bool = False
    url: str = "auto"

    @property
    def world_size(self) -> int:
        """All processes."""
        return self.per_machine * self.num_machines


def launch(function: Callable[..., Any], args: tuple, group: Group) -> None:
    """Call ``function(*args)`` in every process of the job and wait for them; under torchrun, in this one.

    ``function`` and ``args`` must be picklable when there are several processes.

    Raises:
        UserError: one was raised in some process, or a number was not finite (with its message); "auto" with several
            machines.
    """
    if all(name in os.environ for name in TORCHRUN_VARIABLES):
        per_machine = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // per_machine
        rank = int(os.environ["RANK"]) // per_machine
        group = Group(per_machine, machines, machine_rank=rank, on_gpu=group.on_gpu, url="env://")
        _call_in_group(int(os.environ["LOCAL_RANK"]), function, args, group)
    elif group.world_size == 1:
        function(*args)
    else:
        _spawn(function, args, group)


def broadcast_object(value: Any) -> Any:
    """Return rank 0's ``value`` on every rank (small picklable things)."""
    return comm.all_gather(value)[0]


def _spawn(function: Callable[..., Any], args: tuple, group: Group) -> None:
    if group.url == "auto":
        if group.num_machines > 1:
            raise UserError("--dist-url auto works on one machine only; name tcp://HOST:PORT of machine 0")
        group = replace(group, url=f"tcp://127.0.0.1:{_free_port()}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "error.txt"
        try:
            mp.spawn(_child, nprocs=group.per_machine, args=(function, args, group, report))
        except (mp.ProcessRaisedException, mp.ProcessExitedException):
            if report.exists():
                raise UserError(report.read_text(encoding="utf-8")) from None
            raise


def _child(local_rank: int, function: Callable[..., Any], args: tuple, group: Group, report: Path) -> None:
    """One spawned process."""
    if not group.on_gpu and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // group.per_machine))
    _call_in_group(local_rank, _call_and_report, (function, args, report), group)
    # All is done and written; gloo's threads now and then abort an interpreter that is taken down in good order.
    gc.collect()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _call_and_report(function: Callable[..., Any], args: tuple, report: Path) -> None:
    """A wrong input must not end as a child's traceback: its message goes to the parent before others miss this one."""
    try:
        function(*args)
    except (UserError, FloatingPointError) as error:
        report.write_text(str(error), encoding="utf-8")
        raise SystemExit(1) from None


def _call_in_group(local_rank: int, function: Callable[..., Any], args: tuple, group: Group) -> None:
    if group.on_gpu:
        torch.cuda.set_device(local_rank)
    dist.init_process_group(
        "nccl" if group.on_gpu else "gloo",
        init_method=group.url,
        rank=group.machine_rank * group.per_machine + local_rank,
        world_size=group.world_size,
        timeout=TIMEOUT,
    )
    _make_local_groups(group)
    comm.synchronize()
    function(*args)
    # Not after an error: other ranks may be in a collective, and leaving in good order would wait for them.
    comm.synchronize()
    dist.destroy_process_group()


def _make_local_groups(group: Group) -> None:
    """Tell detectron2 which ranks share a machine: release 0.6 has a private variable for it, upstream a function."""
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(group.per_machine)
        return
    for machine in range(group.num_machines):
        first = machine * group.per_machine
        local = dist.new_group(list(range(first, first + group.per_machine)))
        if machine == group.machine_rank:
            comm._LOCAL_PROCESS_GROUP = local


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
