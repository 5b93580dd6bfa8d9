"""What the preparation scripts can be told, and their common command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskclippp.utils.errors import UserError


@dataclass(frozen=True)
class Options:
    """Choices of a preparation.

    Attributes:
        root: datasets root.
        workers: processes.
        partial: take what is there, even if the published set has more.
        overwrite: make finished files again.
    """

    root: Path
    workers: int = 1
    partial: bool = False
    overwrite: bool = False


def run(description: str, prepare: Callable[[Options], None], arguments: Sequence[str] | None = None) -> None:
    """Read the command line and prepare; a wrong input ends the process with one line on stderr and status 1."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("DETECTRON2_DATASETS") or "datasets"),
        help="folder that holds the datasets (default: $DETECTRON2_DATASETS, else datasets)",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument("--partial", action="store_true", help="accept a part of the published files, e.g. for a trial")
    parser.add_argument("--overwrite", action="store_true", help="make files again that are there already")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if args.workers < 1:
            raise UserError(f"--workers {args.workers}: give 1 or more")
        root = args.root.expanduser()
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; give the folder that holds the datasets with --root")
        prepare(Options(root, args.workers, args.partial, args.overwrite))
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; start it again to go on")
