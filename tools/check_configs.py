#!/usr/bin/env python3
"""Check configs: load them, resolve every registered name, build their models on the meta device, without weights.

Prints "PATH OK" or "PATH FAIL reason" per file and a summary; the exit status is 1 if a file fails. With --published,
all values of the files that the JSON file names are compared too.

Example:
    python tools/check_configs.py configs --published ../shared/spec/published_configs.json
"""

from __future__ import annotations

import argparse
import logging
import sys

from checks.configs import check_configs
from maskclippp.utils.errors import UserError


def main() -> None:
    """Read the command line, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="config files, or folders that hold some at any depth")
    parser.add_argument("--published", metavar="FILE", help="published values, by path of the config")
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # libraries warn that the models have no pretrained weights
    failed = compared = total = 0
    try:
        for report in check_configs(args.paths, args.published):
            print(report, flush=True)
            total, failed, compared = total + 1, failed + bool(report.problems), compared + report.compared
    except UserError as error:
        sys.exit(f"error: {error}")
    summary = f"{total - failed} OK, {failed} FAIL"
    print(f"{summary}, {compared} compared with published values" if args.published else summary)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
