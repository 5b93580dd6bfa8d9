#!/usr/bin/env python3
"""List the test sets of a benchmark that are on disk, or print the results of all of them in one table.

eval_everything (eval_all.sh) and eval_mask_acc_mess (eval_mask_acc.sh) use it.

Examples:
    python tools/summarize_results.py list segmentation
    python tools/summarize_results.py table segmentation CONFIG TAG
    python tools/summarize_results.py table mask-accuracy CONFIG TAG
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from maskclippp.config import load_config
from maskclippp.data.datasets import DATASETS
from maskclippp.data.datasets.vocabulary import row_vocabulary
from maskclippp.evaluation import benchmarks
from maskclippp.utils.errors import UserError

_TABLES = {"segmentation": benchmarks.segmentation_table, "mask-accuracy": benchmarks.mask_accuracy_table}


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="print the shell functions' ends of the sets that are on disk")
    listing.add_argument("sets", choices=benchmarks.SUITES)
    table = commands.add_parser("table", help="print the results")
    table.add_argument("table", choices=_TABLES)
    table.add_argument("config", help="config file of the evaluations")
    table.add_argument("tag", help="their tag, without the ends that the shell functions add")
    table.add_argument("--failed", default="", help="sets, separated by blanks, whose results do not count")
    table.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="overrides of the evaluations")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    root = os.path.expanduser(os.environ.get("DETECTRON2_DATASETS") or "datasets")
    try:
        if args.command == "list":
            _list(args.sets, root)
        else:
            folder = Path(load_config(args.config, args.opts).OUTPUT_DIR) / Path(args.config).stem
            print(_TABLES[args.table](folder, args.tag, root, args.failed.split()))
    except UserError as error:
        sys.exit(f"error: {error}")


def _list(name: str, root: str) -> None:
    """Print the sets that can be evaluated.

    Raises:
        UserError: there are some, but the package with their class names is missing.
    """
    found = benchmarks.usable(benchmarks.SUITES[name], root)
    if found:
        row_vocabulary(DATASETS[found[0].dataset])
    else:
        print(f"none of the sets of '{name}' is below {root}; tools/check_datasets.py tells more", file=sys.stderr)
    print("\n".join(each.suffix for each in found))


if __name__ == "__main__":
    main()
