"""Time and memory of a run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from .jobs import build
from .settings import VARIANTS, Run, Settings

TIES = 1e-5
"""Share of labels that may differ."""

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


def interleaved_times(runs: Mapping[str, Run], repeats: int, device: str) -> dict[str, list[float]]:
    """Return the wall times in seconds of each variant, measured in turn; what else the machine does hits both."""
    times: dict[str, list[float]] = {variant: [] for variant in runs}
    for _ in range(repeats):
        for variant, run in runs.items():
            start = time.perf_counter()
            run()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            times[variant].append(time.perf_counter() - start)
    return times


def largest_difference(results: Mapping[str, Mapping[str, Tensor]], limit: float = 1e-3) -> float:
    """Return the largest difference of the variants' results, each as a part of its largest magnitude.

    Of labels it is the share of those that differ: in millions of pixels a few are ties, which rounding decides.

    Raises:
        ValueError: they do not agree to ``limit``, so that a comparison of times would mean nothing.
    """
    first, second = (results[variant] for variant in VARIANTS)
    if first.keys() != second.keys():
        raise ValueError(f"the variants return different things: {sorted(first.keys() ^ second.keys())[:5]}")
    worst = 0.0
    for name, ours in first.items():
        if ours.is_floating_point():
            off = float((ours - second[name]).abs().max() / second[name].abs().max().clamp(min=1e-6))
            unequal = not off <= limit
        else:
            off = float((ours != second[name]).float().mean())
            unequal = off > TIES
        if unequal:
            raise ValueError(f"the variants do not agree: {name} differs by {off:.2g}")
        worst = max(worst, off)
    return worst


def peak_memory(job: str, variant: str, settings: Settings, threads: int) -> float | None:
    """Return the peak in MiB that two runs need beyond the built model, in a process of its own; None: not measurable.

    On the CPU it is the resident set (Linux only), on a GPU what torch allocates.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_here, job, variant, settings, threads).result()


def _peak_here(job: str, variant: str, settings: Settings, threads: int) -> float | None:
    torch.set_num_threads(threads)
    run = build(job, variant, settings)
    if settings.device.startswith("cuda"):
        before = torch.cuda.memory_allocated(settings.device)
        torch.cuda.reset_peak_memory_stats(settings.device)
        run()
        run()
        return (torch.cuda.max_memory_allocated(settings.device) - before) / 2**20
    try:
        _RESET_PEAK.write_text("5")  # proc(5): the peak becomes the current resident set
    except OSError:
        return None
    before = _status_mib("VmRSS")
    run()
    run()
    return _status_mib("VmHWM") - before


def _status_mib(key: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def summary(times: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each variant in seconds."""
    return {variant: statistics.median(values) for variant, values in times.items()}
