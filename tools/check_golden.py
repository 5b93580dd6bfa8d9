#!/usr/bin/env python3
"""Check golden cases: stored inputs, weights and results of the published code against ours.

Prints "NAME max_abs max_rel PASS|FAIL|UNSUPPORTED" per case (max_rel: as a part of the tensor's largest magnitude)
and a summary; the exit status is 1 if a case fails.

Example:
    python tools/check_golden.py ../shared/golden --only "psm_*"
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from checks.golden import check_folder
from maskclippp.utils.errors import UserError


def main() -> None:
    """Read the command line, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="DIR", help="folder with NAME.safetensors and NAME.json files")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="part of a name, or a pattern with * and ?")
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # libraries warn that the tiny models have no pretrained weights
    verdicts: Counter[str] = Counter()
    try:
        for report in check_folder(args.folder, args.only):
            print(report, flush=True)
            verdicts[report.verdict] += 1
    except UserError as error:
        sys.exit(f"error: {error}")
    print(", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("PASS", "FAIL", "UNSUPPORTED")))
    sys.exit(1 if verdicts["FAIL"] else 0)


if __name__ == "__main__":
    main()
