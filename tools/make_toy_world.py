#!/usr/bin/env python
"""Draw the toy world (images, labels, panoptic, instances, captions) into DIR/toy; a finished one is left alone."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from maskclippp.toy.writer import DEFAULT_COUNTS, make_world
from maskclippp.utils.errors import UserError


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    default_root = os.environ.get("DETECTRON2_DATASETS", "datasets")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(default_root),
        help="folder of data sets (default: $DETECTRON2_DATASETS or datasets)",
    )
    parser.add_argument("--seed", type=int, default=0)
    for split, count in DEFAULT_COUNTS.items():
        parser.add_argument(f"--{split}", type=int, default=count, help=f"scenes (default: {count})")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder = make_world(
            args.root,
            seed=args.seed,
            counts={split: getattr(args, split) for split in DEFAULT_COUNTS},
            workers=args.workers,
        )
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    print(folder)


if __name__ == "__main__":
    main()
