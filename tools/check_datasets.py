#!/usr/bin/env python3
"""Tell which datasets are on disk, what is missing, and which command makes it.

--deep reads every file of those that are there: pictures, sizes, ranges of labels; it tells which classes occur
nowhere and how much is ignored. --show N draws a sheet of N samples
with their labels for each. The exit status is 1 if --deep or --show meets something wrong.

Examples:
    python tools/check_datasets.py
    python tools/check_datasets.py 'openvocab_ade20k*_val' --deep --show 4 --out output/sheets
    python tools/check_datasets.py my_data.yaml --deep
"""

from __future__ import annotations

import argparse
import fnmatch
import logging
import os
import sys
from pathlib import Path

from maskclippp.data.datasets import ALIASES, DATASETS, DatasetRow, get_metadata, register_all
from maskclippp.data.datasets.custom import custom_row, is_custom
from maskclippp.data.inspection.presence import Presence, find
from maskclippp.data.inspection.scan import instance_file_problems, survey
from maskclippp.data.inspection.sheet import draw_sheet
from maskclippp.data.names import dataset_folders
from maskclippp.utils.errors import UserError, did_you_mean

_SHOWN_FAILURES = 5


def main() -> None:
    """Read the command line, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="names or patterns (default: all), or files of your own"
    )
    parser.add_argument("--root", help="datasets root (default: $DETECTRON2_DATASETS, else datasets)")
    parser.add_argument("--there", action="store_true", help="leave out absent datasets")
    parser.add_argument("--deep", action="store_true", help="read every file of the datasets that are there")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="draw N samples of each, into --out")
    parser.add_argument("--out", type=Path, default=Path("output/datasets"), help="folder of the sheets")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    root = os.path.expanduser(args.root or os.environ.get("DETECTRON2_DATASETS") or "datasets")
    register_all(root)
    counts, failed = {"present": 0, "partly": 0, "absent": 0}, False
    try:
        rows = _rows(args.names)
        sheets = dataset_folders([row.name for row in rows])
        for row in rows:
            presence = find(row, root)
            counts[presence.state] += 1
            if presence.state == "absent" and args.there:
                continue
            print(_line(presence), flush=True)
            failed |= presence.broken and bool(args.deep or args.show)
            try:
                if presence.records and args.deep:
                    failed |= _deep(presence, args.workers, root)
                if presence.records and args.show:
                    path = args.out / f"{sheets[row.name]}.png"
                    draw_sheet(path, presence.records, get_metadata(row.name), args.show)
                    print(f"    {path}", flush=True)
            except UserError as error:  # the next dataset may be whole
                print(f"    {error}", flush=True)
                failed = True
    except UserError as error:
        sys.exit(f"error: {error}")
    print(", ".join(f"{count} {state}" for state, count in counts.items()) + f" (below {root})")
    sys.exit(1 if failed else 0)


def _rows(patterns: list[str]) -> list[DatasetRow]:
    """Return the rows of names, patterns and files.

    Raises:
        UserError: one of them is nobody's name, or a file is wrong.
    """
    rows = [] if patterns else list(DATASETS.values())
    for pattern in patterns:
        if is_custom(pattern):
            found = [custom_row(pattern)]
        else:
            found = [DATASETS[name] for name in fnmatch.filter(DATASETS, pattern)]
            found = found or [ALIASES[name] for name in fnmatch.filter(ALIASES, pattern)]
        if not found:
            raise UserError(f"no dataset is called '{pattern}'{did_you_mean(pattern, DATASETS)}")
        rows += found
    return rows


def _line(presence: Presence) -> str:
    images = f"{len(presence.records)} images" if presence.records else ""
    line = f"{presence.state:8}{presence.row.name:51} {images}".rstrip()
    if presence.state == "present":
        return line
    if presence.state == "absent":
        return f"{line:60}  {presence.row.preparation or 'see datasets/README.md'}"
    missing = "".join(f"\n    missing: {what}" for what in presence.missing)
    return f"{line}{missing}\n    {presence.row.preparation or 'see datasets/README.md'}"


def _deep(presence: Presence, workers: int, root: str) -> bool:
    """Print what is wrong with the files of a dataset; return whether there is something."""
    problems = instance_file_problems(presence.row, root)
    for problem in problems:
        print(f"    {problem}")
    found = survey(presence.row, presence.records, workers=workers)
    failures = found.failures
    for failure in failures[:_SHOWN_FAILURES]:
        print(f"    {failure}")
    if len(failures) > _SHOWN_FAILURES:
        print(f"    and {len(failures) - _SHOWN_FAILURES} more")
    print(f"    {len(presence.records)} images read, {len(failures)} with something wrong", flush=True)
    for line in found.coverage:
        print(f"    {line}", flush=True)
    return bool(failures or problems)


if __name__ == "__main__":
    main()
