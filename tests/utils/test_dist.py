"""Several processes: what comes back to the parent, torchrun's environment, groups."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import time

import pytest
import torch
from detectron2.utils import comm

from maskclippp.utils.dist import TORCHRUN_VARIABLES, Group, broadcast_object, check_meeting_place, launch
from maskclippp.utils.errors import UserError


def exchange(folder) -> None:
    """Every rank writes what it heard."""
    heard = [broadcast_object(f"rank {comm.get_rank()} speaks"), comm.all_gather(comm.get_local_rank())]
    (folder / f"{comm.get_rank()}").write_text(str(heard))


def fail(message: str) -> None:
    """Rank 1 meets a wrong input while rank 0 waits for it."""
    if comm.get_rank() == 1:
        raise UserError(message)
    comm.synchronize()


@pytest.mark.slow
def test_two_processes(tmp_path):
    launch(exchange, (tmp_path,), Group(per_machine=2))
    assert [(tmp_path / name).read_text() for name in "01"] == ["['rank 0 speaks', [0, 1]]"] * 2


@pytest.mark.slow
def test_the_message_of_a_child_reaches_the_parent():
    with pytest.raises(UserError, match=r"^a\.jpg: truncated$"):
        launch(fail, ("a.jpg: truncated",), Group(per_machine=2))


def test_one_process_needs_no_group(tmp_path):
    launch(lambda: (tmp_path / "ran").touch(), (), Group())
    assert (tmp_path / "ran").exists() and not torch.distributed.is_initialized()


def test_auto_is_for_one_machine():
    with pytest.raises(UserError, match="works on one machine only"):
        launch(fail, ("",), Group(num_machines=2))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("tcp://127.0.0.1:99999", "is not tcp://HOST:PORT with a port of 1 to 65535"),
        ("tcp://127.0.0.1", "is not tcp://HOST:PORT"),
        ("somewhere", "is not tcp://HOST:PORT"),
        ("tcp://no-such-host.invalid:1234", "the host 'no-such-host.invalid' is not known here"),
        ("env://", "needs the environment variable MASTER_ADDR and MASTER_PORT"),
    ],
)
def test_where_processes_cannot_meet(url, message, monkeypatch):
    for name in TORCHRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=re.escape(message)):
        launch(fail, ("",), Group(per_machine=2, url=url))


def test_a_port_in_use_is_told_before_anybody_waits():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(UserError, match="cannot be opened .Address already in use.; name another one"):
            launch(fail, ("",), Group(per_machine=2, url=url))
        assert time.monotonic() - start < 2
        check_meeting_place(url, listens=False)


def full(folder) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def killed(folder) -> None:
    if comm.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    comm.synchronize()


def test_what_a_child_cannot_say_itself(tmp_path):
    with pytest.raises(OSError, match="No space left"):
        launch(full, (tmp_path,), Group(per_machine=2))
    with pytest.raises(UserError, match=r"process 1 of 2 was killed \(SIGKILL\)"):
        launch(killed, (tmp_path,), Group(per_machine=2))


def test_torchrun(monkeypatch, tmp_path):
    """Under torchrun this process is one of the group already."""
    values = ("0", "1", "0", "1", "127.0.0.1", "0")
    for name, value in zip(TORCHRUN_VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)

    def check() -> None:
        assert torch.distributed.get_backend() == "gloo" and comm.get_local_rank() == 0
        (tmp_path / "ran").touch()

    monkeypatch.setattr(comm, "_LOCAL_PROCESS_GROUP", None, raising=False)
    launch(check, (), Group(per_machine=8, url="auto"))
    assert (tmp_path / "ran").exists() and "RANK" in os.environ
    assert not torch.distributed.is_initialized()
