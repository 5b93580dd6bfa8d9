"""Means over datasets of one domain, as the MESS benchmark reports them (Blumenstiel et al. 2023)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from .class_metric import overall

# MESS takes the four label sets of PAXRay-4 as one dataset.
_PARTS_OF_ONE = ("paxray_",)

PARTIAL = "partial"
"""Task that marks the results of an incomplete dataset: how many "images" there were "of" how many."""


def domain_means(results: Mapping[str, Mapping[str, Any]], domains: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return {domain: {task: {metric: mean over its datasets}}}, without metrics of single classes.

    Args:
        results: {dataset: {task: {metric: value}}}; a NaN is left out of its mean. Of the task "partial" there is the
            number of "datasets" that have it instead of a mean.
        domains: {dataset: domain}; datasets that are not in it, or whose domain is empty, are left out.
    """
    values: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    partial: Counter[str] = Counter()
    for dataset, tasks in results.items():
        if not domains.get(dataset):
            continue
        group = next((part for part in _PARTS_OF_ONE if dataset.startswith(part)), dataset)
        for task, metrics in tasks.items():
            if task == PARTIAL:
                partial[domains[dataset]] += 1
                continue
            for metric, value in overall(metrics).items():
                values[domains[dataset], task, metric][group].append(value)
    means: dict[str, dict[str, Any]] = {}
    for (domain, task, metric), by_dataset in values.items():
        each = [_mean(parts) for parts in by_dataset.values()]
        means.setdefault(domain, {}).setdefault(task, {})[metric] = _mean(each)
    for domain, count in partial.items():
        means.setdefault(domain, {})[PARTIAL] = {"datasets": float(count)}
    return means


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
