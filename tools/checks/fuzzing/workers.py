"""Worker processes that read one input after another, within bounds of memory and time; those that die are replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from maskclippp.utils.errors import UserError

from .case import Outcome, judge
from .kinds import make_case
from .lists import forget_datasets


@dataclass(frozen=True)
class Limits:
    """What one input may take.

    Attributes:
        seconds: until it counts as a hang.
        bytes: of memory beyond what a worker has after its imports.
    """

    seconds: float
    bytes: int


@dataclass(frozen=True)
class Result:
    """How one input ended.

    Attributes:
        index: number of the input, which with the seed and its kind makes it again.
        kind: of the input.
        outcome: what happened.
        peak_bytes: largest memory of its worker so far.
        seconds: it took.
        folder: where its files lie until the next input is asked for.
    """

    index: int
    kind: str
    outcome: Outcome
    peak_bytes: int
    seconds: float
    folder: Path


def run_inputs(
    inputs: Iterable[tuple[int, str]], *, seed: int, count: int, limits: Limits, folder: Path
) -> Iterator[Result]:
    """Read all inputs in worker processes; yield how each ended, in the order in which they end.

    Args:
        inputs: number and kind of each.
        seed: of all choices.
        count: of workers.
        limits: for one input.
        folder: for files; each worker has its own below it.
    """
    waiting = iter(inputs)
    workers = [_Worker(seed, limits, folder / f"worker{number}") for number in range(count)]
    busy = {worker for worker in workers if worker.give(waiting)}
    try:
        while busy:
            wait([worker.pipe for worker in busy], timeout=min(worker.seconds_left() for worker in busy))
            for worker in list(busy):
                result = worker.result()
                if result is not None:
                    yield result
                    if not worker.give(waiting):
                        busy.discard(worker)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that reads inputs, seen from its parent."""

    def __init__(self, seed: int, limits: Limits, folder: Path) -> None:
        self._seed, self._limits, self._folder = seed, limits, folder
        self._peak = 0
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")  # what was imported need not be imported again
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, self.pipe, self._seed, self._limits, self._folder)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def give(self, waiting: Iterator[tuple[int, str]]) -> bool:
        """Hand over the next input, if there is one."""
        self._task = next(waiting, None)
        if self._task is None:
            return False
        if not self._process.is_alive():
            self._start()
        self._begin = time.monotonic()
        self.pipe.send(self._task)
        return True

    def seconds_left(self) -> float:
        """Until the input counts as a hang."""
        return max(0.0, self._begin + self._limits.seconds - time.monotonic())

    def result(self) -> Result | None:
        """Return how the input ended, None if it goes on."""
        outcome = None
        if self.pipe.poll():
            try:
                outcome, self._peak = self.pipe.recv()
            except (EOFError, OSError):
                self._process.join()
                outcome = Outcome("crash", f"exit status {self._process.exitcode}")
        elif not self.seconds_left():
            outcome = Outcome("hang", f"more than {self._limits.seconds} s")
            self.end()
        if outcome is None:
            return None
        index, kind = self._task
        return Result(index, kind, outcome, self._peak, time.monotonic() - self._begin, self._folder / "case")

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()


def _serve(pipe: Connection, other_end: Connection, seed: int, limits: Limits, folder: Path) -> None:
    """The worker's side."""
    other_end.close()  # else it would not end with its parent
    _be_quiet()
    torch.set_num_threads(1)
    # A worker may have what its imports take, and so much more.
    allowed = _status("VmSize") + limits.bytes
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            index, kind = pipe.recv()
        except EOFError:
            return
        pipe.send((_attempt(seed, index, kind, folder), _status("VmHWM")))


def _attempt(seed: int, index: int, kind: str, folder: Path) -> Outcome:
    shutil.rmtree(folder, ignore_errors=True)
    case_folder, canary = folder / "case", folder / "canary"
    case_folder.mkdir(parents=True)
    os.chdir(folder)
    forget_datasets()
    try:
        case = make_case(seed, index, kind, case_folder, canary)
        case.read()
        outcome = Outcome("read")
    except UserError as error:
        outcome = judge(error, case.names)
    except BaseException:
        outcome = Outcome("traceback", traceback.format_exc())
    return Outcome("code run", outcome.text) if canary.exists() else outcome


def _be_quiet() -> None:
    """What readers log and libraries print is not looked at."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silence, number)
    sys.stdout = sys.stderr = open(os.devnull, "w")


def _status(name: str) -> int:
    """Return a number of this process in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10
