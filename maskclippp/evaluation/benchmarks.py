"""The test sets of the published tables, in their order, and one table of the results of all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from maskclippp.data.annotations import read_json
from maskclippp.data.datasets import DATASETS, DatasetRow
from maskclippp.data.datasets.mess import DOMAINS
from maskclippp.data.inspection.presence import find
from maskclippp.utils.errors import UserError

from .domains import PARTIAL, domain_means


@dataclass(frozen=True)
class BenchmarkSet:
    """One test set of a benchmark.

    Attributes:
        title: as published tables call it.
        suffix: end of the shell function that evaluates it, and of its tag.
        dataset: registered name.
    """

    title: str
    suffix: str
    dataset: str


def _suites() -> dict[str, tuple[BenchmarkSet, ...]]:
    """Read ``benchmarks.tsv``, whose head says what it holds."""
    sets, suites = {}, {}
    for line in Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines():
        kind, *row = line.split("\t")
        if kind == "set":
            suffix, title, dataset, *_ = row
            sets[suffix] = BenchmarkSet(title, suffix, dataset)
        elif kind == "suite":
            name, _, suffixes = row
            suites[name] = tuple(sets[suffix] for suffix in suffixes.split())
    return suites


SUITES = _suites()
"""Sets that are evaluated together, by name, in the order of the tables."""
SEGMENTATION = SUITES["segmentation"]
MASK_ACCURACY = SUITES["mask-accuracy"]
MESS = SUITES["mess"]

_SEGMENTATION_COLUMNS = (
    *(("sem_seg", "mIoU"), ("panoptic_seg", "PQ"), ("panoptic_seg", "SQ"), ("panoptic_seg", "RQ"), ("segm", "AP")),
)
_MASK_ACCURACY_COLUMNS = (("mask_acc", "mMaskAcc"), ("mask_acc", "mMaskAcc(S)"), ("mask_acc", "mMaskAcc(U)"))


def usable(sets: Collection[BenchmarkSet], root: str | Path) -> list[BenchmarkSet]:
    """Return the sets whose files are on disk, below a datasets root."""
    return [each for each in sets if find(DATASETS[each.dataset], root).usable]


def segmentation_table(folder: str | Path, tag: str, root: str | Path, failed: Collection[str] = ()) -> str:
    """Return the results of the segmentation benchmarks as a table, absent sets marked.

    Args:
        folder: output folder of a config, which holds ``<tag>_<suffix>/inference/results.json``.
        tag: tag without suffix.
        root: datasets root; sets without a result that are not there are called absent.
        failed: suffixes of sets whose evaluation failed just now; results of earlier runs do not count then.

    Raises:
        UserError: a result file is damaged.
    """
    rows = [_row(each, _SEGMENTATION_COLUMNS, folder, tag, root, failed) for each in SEGMENTATION]
    return _table(rows, _SEGMENTATION_COLUMNS)


def mask_accuracy_table(folder: str | Path, tag: str, root: str | Path, failed: Collection[str] = ()) -> str:
    """Return mask accuracies as a table: the large sets, the MESS sets, and the mean of each MESS domain.

    Args: see :func:`segmentation_table`.

    Raises:
        UserError: a result file is damaged.
    """
    columns = _MASK_ACCURACY_COLUMNS
    rows = [_row(each, columns, folder, tag, root, failed) for each in MASK_ACCURACY]
    for domain in DOMAINS:
        members = [each for each in MESS if DATASETS[each.dataset].domain == domain]
        found = [_row(each, columns, folder, tag, root, failed) for each in members]
        rows += [[f"  {row[0]}", *row[1:]] for row in found]
        rows.append([domain, *_means(members, found, columns)])
    return _table(rows, columns)


def _means(members: list[BenchmarkSet], found: list[list[Any]], columns: tuple[tuple[str, str], ...]) -> list[Any]:
    """Return the means over the rows of a domain that have a result, and a note."""
    results: dict[str, dict[str, dict[str, float]]] = {}
    for member, (_, *values, _) in zip(members, found, strict=True):
        for (task, metric), value in zip(columns, values, strict=True):
            if value is not None:
                results.setdefault(member.dataset, {}).setdefault(task, {})[metric] = value
    means = next(iter(domain_means(results, dict.fromkeys(results, "all")).values()), {})
    note = f"mean of {len(results)} of {len(members)} sets" if results else "no result"
    return [*(means.get(task, {}).get(metric) for task, metric in columns), note]


def _row(
    test_set: BenchmarkSet,
    columns: tuple[tuple[str, str], ...],
    folder: str | Path,
    tag: str,
    root: str | Path,
    failed: Collection[str],
) -> list[Any]:
    """Return title, values (None where there is none) and a note."""
    if test_set.suffix in failed:
        return [test_set.title, *[None] * len(columns), "failed"]
    path = Path(folder) / f"{tag}_{test_set.suffix}" / "inference" / "results.json"
    if not path.exists():
        return [test_set.title, *[None] * len(columns), _absence(DATASETS[test_set.dataset], root)]
    name, tasks = _result(path, test_set.dataset)
    values = [_number(tasks, task, metric, path) for task, metric in columns]
    if all(value is None for value in values):
        return [test_set.title, *values, f"other results in {path}"]
    notes = [] if name == test_set.dataset else [f"of {name}"]
    if isinstance(tasks, dict) and PARTIAL in tasks:
        counts = (_number(tasks, PARTIAL, key, path) or 0 for key in ("images", "of"))
        notes.append("partial: {:.0f} of {:.0f} images".format(*counts))
    return [test_set.title, *values, ", ".join(notes)]


def _absence(row: DatasetRow, root: str | Path) -> str:
    """Say why there is no result."""
    if find(row, root).usable:
        return "no result"
    return "absent" if row.domain else f"absent: {row.preparation}"


def _result(path: Path, dataset: str) -> tuple[str, Mapping[str, Any]]:
    """Return the results of a dataset, or of the only one there is (a config may name another set of the same kind)."""
    results = read_json(path)
    if isinstance(results, dict) and dataset in results:
        return dataset, results[dataset]
    if not isinstance(results, dict) or len(results) != 1:
        raise UserError(f"{path}: no results of '{dataset}' in it; evaluate it again")
    return next(iter(results.items()))


def _number(tasks: Any, task: str, metric: str, path: Path) -> float | None:
    metrics = tasks.get(task, {}) if isinstance(tasks, dict) else None
    value = metrics.get(metric) if isinstance(metrics, dict) else math.nan
    if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
        raise UserError(f"{path}: {task}/{metric} is {json.dumps(value)}, not a number; evaluate it again")
    return value


def _table(rows: list[list[Any]], columns: tuple[tuple[str, str], ...]) -> str:
    headers = ["set", *[metric for _, metric in columns], ""]
    return tabulate(list(_shown(rows)), headers=headers, tablefmt="pipe", disable_numparse=True)


def _shown(rows: list[list[Any]]) -> Iterator[list[str]]:
    for title, *values, note in rows:
        yield [title, *["–" if value is None else f"{value:.1f}" for value in values], note]
