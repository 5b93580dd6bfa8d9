#!/usr/bin/env python3
"""Read thousands of damaged and hostile inputs: each must be read, or be refused in one line that names the file.

Inputs are configs and overrides, checkpoints, pictures, COCO JSON of instances and panoptic segments, vocabularies,
class lists, dataset files, offline masks, and paths that lead to no file. A traceback, a crash, a hang, several lines,
or code that ran is a finding; its files and its number are kept. The exit status is 1 if there is one.

Examples:
    python tools/checks/fuzz_inputs.py --inputs 4000 --workers 2
    python tools/checks/fuzz_inputs.py --seed 3 --first 1234 --inputs 1 --kinds checkpoint
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzzing.kinds import KINDS
from fuzzing.run import fuzz
from fuzzing.workers import Limits


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: 0)")
    parser.add_argument("--inputs", type=int, default=4000, metavar="N", help="how many (default: 4000)")
    parser.add_argument("--first", type=int, default=0, metavar="I", help="number of the first one")
    parser.add_argument("--kinds", nargs="+", default=[], choices=list(KINDS), help="default: all")
    parser.add_argument("--workers", type=int, default=2, metavar="W", help="processes (default: 2)")
    parser.add_argument("--seconds", type=float, default=20, help="a longer input is a hang (default: 20)")
    parser.add_argument("--megabytes", type=int, default=150, help="of one input, beyond the imports (default: 150)")
    parser.add_argument("--max-seconds", type=float, default=900, help="of all together (default: 900)")
    parser.add_argument("--keep", type=Path, default=Path("output/fuzz"), help="folder for the files of findings")
    args = parser.parse_args()
    report = fuzz(
        seed=args.seed,
        inputs=args.inputs,
        first=args.first,
        kinds=args.kinds,
        workers=args.workers,
        limits=Limits(args.seconds, args.megabytes << 20),
        max_seconds=args.max_seconds,
        keep=args.keep,
    )
    report.write(args.keep / "report.json")
    print(*report.lines(), sep="\n")
    sys.exit(bool(report.findings))


if __name__ == "__main__":
    main()
