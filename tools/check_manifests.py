#!/usr/bin/env python
"""Check models against the key lists of published checkpoints: loading, saving, and what trains; no weights are needed.

Example:
    python tools/check_manifests.py ../shared/manifests
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from checks.manifests import check_manifests
from maskclippp.utils.errors import UserError


def main() -> int:
    """Print one line per manifest and a summary; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of manifests (*.json)")
    args = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns of random weights, which are meant here
    counts = Counter()
    try:
        for verdict in check_manifests(args.folder):
            print(verdict, flush=True)
            counts[verdict.verdict] += 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("OK", "FAIL", "UNSUPPORTED")))
    return int(counts["FAIL"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
