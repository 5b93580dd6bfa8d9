"""The whole run: draw inputs, read them, report."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskclippp.data.datasets import register_all

from .kinds import KINDS, draw_kind
from .report import Report
from .workers import Limits, run_inputs


def fuzz(
    *,
    seed: int,
    inputs: int,
    first: int = 0,
    kinds: Sequence[str] = (),
    workers: int = 1,
    limits: Limits,
    max_seconds: float,
    keep: Path,
) -> Report:
    """Read damaged inputs and return what came of them.

    Args:
        seed: of all choices.
        inputs: how many.
        first: number of the first one.
        kinds: of inputs; empty: all.
        workers: processes.
        limits: for one input.
        max_seconds: no more inputs are begun after so long.
        keep: folder for the files of findings.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    register_all()
    chosen = list(kinds) or list(KINDS)
    report, end = Report(seed, keep), time.monotonic() + max_seconds

    def numbered() -> Iterator[tuple[int, str]]:
        for index in range(first, first + inputs):
            if time.monotonic() > end:
                return
            yield index, draw_kind(seed, index, chosen)

    with tempfile.TemporaryDirectory() as folder:
        for result in run_inputs(numbered(), seed=seed, count=workers, limits=limits, folder=Path(folder)):
            report.add(result)
    return report
