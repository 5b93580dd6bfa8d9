"""A whole benchmark: check that both variants agree, measure, put together what there is to say."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

import torch

from .jobs import build
from .measure import interleaved_times, largest_difference, peak_memory, summary
from .settings import VARIANTS, Settings

# What the second variant is called, where it is not a plain way to the same result.
BASELINES = {"mask-cost": "plain"}


def matmul_rate(device: str, side: int = 1024, repeats: int = 5) -> float:
    """Return the best rate in GFLOP/s of multiplying two (side, side) float32 matrices."""
    left, right = torch.rand(2, side, side, device=device)
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def run_benchmark(job: str, settings: Settings, *, repeats: int, threads: int) -> dict[str, Any]:
    """Measure one job.

    Args:
        job: a key of ``JOBS``.
        repeats: timed runs of each variant, after one run that is not timed.
        threads: of torch, on the CPU.

    Returns:
        Settings, times in seconds, medians and their ratio, peak memory in MiB and its ratio, difference of results.

    Raises:
        ValueError: the variants do not agree.
    """
    torch.set_num_threads(threads)
    peaks = {variant: peak_memory(job, variant, settings, threads) for variant in VARIANTS}
    runs = {variant: build(job, variant, settings) for variant in VARIANTS}
    limit = 1e-3 if settings.precision == "float32" else 5e-2
    difference = largest_difference({variant: run() for variant, run in runs.items()}, limit)
    times = interleaved_times(runs, repeats, settings.device)
    medians = summary(times)
    return {
        "job": job,
        "settings": asdict(settings),
        "threads": threads,
        "torch": torch.__version__,
        "matmul_gflops": matmul_rate(settings.device),
        "times_s": times,
        "median_s": medians,
        "time_ratio": medians["naive"] / medians["ours"],
        "peak_mib": peaks,
        "peak_ratio": peaks["naive"] / peaks["ours"] if peaks["naive"] and peaks["ours"] else None,
        "largest_relative_difference": difference,
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as a few lines of text."""
    settings = result["settings"]
    shown = ", ".join(f"{key} {value}" for key, value in settings.items())
    lines = [
        f"{result['job']}: {shown}, threads {result['threads']}",
        f"this machine multiplies float32 matrices at {result['matmul_gflops']:.0f} GFLOP/s",
        f"{'':8}{'median s':>10}{'fastest s':>11}{'peak MiB':>11}",
    ]
    other = BASELINES.get(result["job"], "naive")
    for variant in VARIANTS:
        peak = result["peak_mib"][variant]
        shown_peak = "-" if peak is None else f"{peak:.0f}"
        median, fastest = result["median_s"][variant], min(result["times_s"][variant])
        label = variant if variant == "ours" else other
        lines.append(f"{label:8}{median:>10.3f}{fastest:>11.3f}{shown_peak:>11}")
    memory = f", {result['peak_ratio']:.2f} times the memory" if result["peak_ratio"] else ""
    lines.append(
        f"{other} takes {result['time_ratio']:.2f} times as long{memory}; "
        f"results agree to {result['largest_relative_difference']:.1g}"
    )
    return "\n".join(lines)
