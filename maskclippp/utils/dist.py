"""Several processes as one job: GPUs of one or more machines, or CPU processes; started here or by torchrun."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm

from .errors import UserError, error_line, told_in_one_line

TIMEOUT = timedelta(minutes=30)
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LOST_PEER = "another process of the job has ended; what it says, or its log, tells why"
_LOST_PEER_CODE = 3
_SIGNS_OF_LOSS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "/gloo/")


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
        UserError: one was raised in some process, or another error that a door tells in one line (with its message); a
            process was killed; the processes have no place to meet, or its port is in use.
        OSError: one was raised in some process.
    """
    if under_torchrun():
        per_machine = int(os.environ["LOCAL_WORLD_SIZE"])
        machines = int(os.environ["WORLD_SIZE"]) // per_machine
        rank = int(os.environ["RANK"]) // per_machine
        group = Group(per_machine, machines, machine_rank=rank, on_gpu=group.on_gpu, url="env://")
        try:
            _call_in_group(int(os.environ["LOCAL_RANK"]), function, args, group)
        except RuntimeError as error:
            if is_lost_peer(error):
                raise UserError(_LOST_PEER) from None
            raise
    elif group.world_size == 1:
        function(*args)
    else:
        _spawn(function, args, group)


def under_torchrun() -> bool:
    """Return whether torchrun has started this process as one of several."""
    return all(name in os.environ for name in TORCHRUN_VARIABLES)


def is_lost_peer(error: BaseException) -> bool:
    """Return whether an error says that another process of the job has gone, so that it has a cause elsewhere."""
    known = isinstance(error, (dist.DistBackendError, dist.DistNetworkError))
    return known or (isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS_OF_LOSS))


def broadcast_object(value: Any) -> Any:
    """Return rank 0's ``value`` on every rank (small picklable things)."""
    return comm.all_gather(value)[0]


def _spawn(function: Callable[..., Any], args: tuple, group: Group) -> None:
    if group.url == "auto":
        if group.num_machines > 1:
            raise UserError("--dist-url auto works on one machine only; name tcp://HOST:PORT of machine 0")
        group = replace(group, url=f"tcp://127.0.0.1:{_free_port()}")
    check_meeting_place(group.url, listens=group.machine_rank == 0)
    # Not through a file: the disk may be what is full.
    report = mp.get_context("spawn").SimpleQueue()
    children = mp.spawn(_child, nprocs=group.per_machine, args=(function, args, group, report), join=False)
    try:
        while not children.join():
            pass
    except (mp.ProcessRaisedException, mp.ProcessExitedException):
        if not report.empty():
            told = report.get()
            raise (told if isinstance(told, OSError) else UserError(told)) from None
        told = _how_it_ended([child.exitcode for child in children.processes], group)
        if told:
            raise UserError(told) from None
        raise


def _how_it_ended(exit_codes: list[int | None], group: Group) -> str | None:
    """What is said of processes that could say nothing themselves; None: a traceback is due."""
    if 1 in exit_codes and -signal.SIGKILL not in exit_codes:
        return None
    # By SIGTERM the others are ended once one has gone.
    signals = [code for code in exit_codes if code and code < 0]
    first = next((code for code in signals if code != -signal.SIGTERM), None) or next(iter(signals), None)
    if first is None or (first == -signal.SIGTERM and _LOST_PEER_CODE in exit_codes):
        return _LOST_PEER if _LOST_PEER_CODE in exit_codes else None
    rank = group.machine_rank * group.per_machine + exit_codes.index(first)
    return (
        f"process {rank} of {group.world_size} was killed ({signal.Signals(-first).name}), perhaps for want of memory; "
        "the checkpoints are whole, --resume goes on from the newest"
    )


def check_meeting_place(url: str, *, listens: bool) -> None:
    """Check where the processes of a job are to meet, before any of them waits there.

    Args:
        url: ``tcp://HOST:PORT``, ``env://`` with MASTER_ADDR and MASTER_PORT, or ``file://PATH``.
        listens: whether it is this machine that opens the port.

    Raises:
        UserError: another form, a host that is not known, a port out of range or in use.
    """
    if url.startswith("file://"):
        return
    host, port = _host_and_port(url)
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError(f"--dist-url {url}: the host '{host}' is not known here; name that of machine 0") from None
    if not listens:
        return
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except OSError as error:
        raise UserError(
            f"--dist-url {url}: port {port} cannot be opened ({error.strerror}); name another one, or on a single "
            "machine --dist-url auto"
        ) from None


def _host_and_port(url: str) -> tuple[str, int]:
    """Of ``tcp://HOST:PORT`` or the environment."""
    if url == "env://":
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if missing:
            raise UserError(f"--dist-url env:// needs the environment variable {' and '.join(missing)}")
        url = f"tcp://{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        parts = urlsplit(url)
        if parts.scheme == "tcp" and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise UserError(f"--dist-url {url} is not tcp://HOST:PORT with a port of 1 to 65535, nor auto, nor env://")


def _child(local_rank: int, function: Callable[..., Any], args: tuple, group: Group, report: Any) -> None:
    """One spawned process."""
    if not group.on_gpu and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // group.per_machine))
    _call_and_report(partial(_call_in_group, local_rank, function, args, group), report)
    # All is done and written; gloo's threads now and then abort an interpreter that is taken down in good order.
    gc.collect()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _call_and_report(function: Callable[[], Any], report: Any) -> None:
    """A wrong input must not end as a child's traceback: its message goes to the parent before others miss this one."""
    try:
        function()
    except Exception as error:
        if told_in_one_line(error):
            # The parent knows where the run writes, which an error of the disk may not tell.
            report.put(error if isinstance(error, OSError) and error.errno else error_line(error))
            raise SystemExit(1) from None
        if is_lost_peer(error):
            raise SystemExit(_LOST_PEER_CODE) from None
        raise


def _call_in_group(local_rank: int, function: Callable[..., Any], args: tuple, group: Group) -> None:
    if group.on_gpu:
        torch.cuda.set_device(local_rank)
    try:
        dist.init_process_group(
            "nccl" if group.on_gpu else "gloo",
            init_method=group.url,
            rank=group.machine_rank * group.per_machine + local_rank,
            world_size=group.world_size,
            timeout=TIMEOUT,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"the processes of the job cannot meet at {group.url}: {reason}") from None
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
