"""Run experiments in processes side by side, with a progress bar; one that fails tells where its log is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from maskclippp.utils.errors import UserError

from .experiment import RESULTS_FILE, Experiment

POLL_SECONDS = 0.5


def run_all(experiments: Sequence[Experiment], *, workers: int) -> list[dict]:
    """Run experiments, at most ``workers`` at a time, and return their results in order.

    A run whose results are there already, from the same description, is not repeated.

    Args:
        experiments: with different folders.
        workers: processes, one thread each.

    Raises:
        UserError: a run failed.
    """
    waiting = [experiment for experiment in experiments if not _is_done(experiment)]
    running: dict[str, tuple[Experiment, subprocess.Popen]] = {}
    total = sum(experiment.iterations for experiment in waiting)
    with tqdm(total=total, desc="training", unit="it", disable=not total) as bar:
        done = 0
        while waiting or running:
            while waiting and len(running) < workers:
                experiment = waiting.pop(0)
                running[experiment.folder] = experiment, _start(experiment)
                bar.write(f"started: {experiment.name}")
            time.sleep(POLL_SECONDS)
            for experiment, process in list(running.values()):
                if process.poll() is not None:
                    del running[experiment.folder]
                    _check(experiment, process)
                    done += experiment.iterations
                    bar.write(f"finished: {experiment.name}")
            bar.n = done + sum(map(_iteration, (experiment for experiment, _ in running.values())))
            bar.refresh()
    return [json.loads((Path(experiment.folder) / RESULTS_FILE).read_text()) for experiment in experiments]


def training_curve(experiment: Experiment) -> tuple[list[int], list[float]]:
    """Return iterations and losses that a run has logged."""
    rows = [row for row in _metrics(experiment) if "total_loss" in row]
    return [row["iteration"] for row in rows], [row["total_loss"] for row in rows]


def _start(experiment: Experiment) -> subprocess.Popen:
    spec = experiment.save()
    with open(spec.with_name("output.txt"), "w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "maskclippp.toy.experiment", str(spec)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def _check(experiment: Experiment, process: subprocess.Popen) -> None:
    if process.returncode:
        output = Path(experiment.folder) / "output.txt"
        lines = output.read_text().strip().splitlines() or ["no output"]
        raise UserError(f"{experiment.name} ended with status {process.returncode}: {lines[-1]} (see {output})")


def _is_done(experiment: Experiment) -> bool:
    folder = Path(experiment.folder)
    spec = folder / "experiment.json"
    return (folder / RESULTS_FILE).exists() and spec.exists() and Experiment.load(spec) == experiment


def _iteration(experiment: Experiment) -> int:
    rows = _metrics(experiment) if experiment.trains else []
    return min(int(rows[-1]["iteration"]), experiment.iterations) if rows else 0


def _metrics(experiment: Experiment) -> list[dict]:
    path = Path(experiment.folder) / "metrics.json"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]
