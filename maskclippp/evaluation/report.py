"""Results on disk and in the log."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from maskclippp.data.vocabularies import split_synonyms
from maskclippp.utils.files import atomic_write
from maskclippp.utils.torch_files import save_torch

_COLUMNS = 6


def write_results(folder: str | Path | None, stem: str, results: Mapping[str, float]) -> None:
    """Write ``<stem>.pth`` (a plain dict) and ``<stem>.json`` (NaN as null); nothing if there is no folder."""
    if not folder:
        return
    with atomic_write(Path(folder) / f"{stem}.pth") as path:
        save_torch({str(key): value for key, value in results.items()}, path)
    with atomic_write(Path(folder) / f"{stem}.json") as path:
        values = {key: None if math.isnan(value) else value for key, value in results.items()}
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_class_csv(
    folder: str | Path | None,
    stem: str,
    class_names: Sequence[str],
    columns: Mapping[str, Sequence[float] | np.ndarray],
    seen: np.ndarray | None = None,
) -> None:
    """Write ``<stem>.csv`` with one row per class: index, entry, seen (1, 0 or empty), then the columns (NaN empty).

    Nothing is written if there is no folder.
    """
    if not folder:
        return
    with atomic_write(Path(folder) / f"{stem}.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "class", "seen", *columns])
        for index, name in enumerate(class_names):
            values = [column[index] for column in columns.values()]
            cells = ["" if math.isnan(value) else float(value) for value in values]
            writer.writerow([index, name, "" if seen is None else int(seen[index]), *cells])


def log_class_tables(
    logger: logging.Logger,
    class_names: Sequence[str],
    columns: Mapping[str, np.ndarray],
    seen: np.ndarray | None,
) -> None:
    """Log per-class results, apart for seen and unseen classes when there are both.

    Args:
        logger: where to.
        class_names: K class entries; the first synonym is shown.
        columns: title -> (K,) percent.
        seen: (K,) bool or None.
    """
    everything = np.ones(len(class_names), dtype=bool)
    if seen is None or seen.all() or not seen.any():
        groups = {"All": everything}
    else:
        groups = {"Seen": seen, "Unseen": ~seen}
    for title, members in groups.items():
        cells = [
            cell
            for index in np.flatnonzero(members)
            for cell in (split_synonyms(class_names[index])[0], *(values[index] for values in columns.values()))
        ]
        logger.info("%s Category Results:\n%s", title, _table(cells, ["category", *columns]))


def _table(cells: list, titles: list[str]) -> str:
    width = len(titles) * max(1, min(_COLUMNS, len(cells)) // len(titles))
    cells = cells + [None] * (-len(cells) % width)
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    headers = titles * (width // len(titles))
    return tabulate(rows, headers=headers, tablefmt="pipe", floatfmt=".3f", numalign="left")
