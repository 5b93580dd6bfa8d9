#!/usr/bin/env python3
"""Show the known weight files, or download them to where configs look for them.

CLIP weights go to huggingface_hub's cache, as open_clip names them; a copy made by hand is found at the place shown.
All other files go below output/ckpts/ of the working folder. A broken download is continued when it is started again.

Examples:
    python tools/download_weights.py --list
    python tools/download_weights.py maftp_b.pth convnext_base_w_320/laion_aesthetic_s13b_b82k_augreg
    python tools/download_weights.py maftp_l.pth --url https://example.org/mirror/maftp_l.pth
"""

from __future__ import annotations

import argparse
import logging
import sys

from maskclippp.utils.errors import UserError, did_you_mean
from maskclippp.utils.weights import KNOWN, fetch, table


def main() -> None:
    """Read the command line; list or download."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="files, by the names that --list shows")
    parser.add_argument("--list", action="store_true", help="show every known file: size, presence, place, source")
    parser.add_argument("--url", default="", help="download the one NAME from another address")
    args = parser.parse_args()
    if args.list == bool(args.names):
        parser.error("give either --list or names")
    if args.url and len(args.names) != 1:
        parser.error("--url goes with one name")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if args.list:
        print(table())
        return
    try:
        unknown = next((name for name in args.names if name not in KNOWN), None)
        if unknown is not None:
            raise UserError(f"no known file is called '{unknown}'{did_you_mean(unknown, KNOWN)}")
        for name in args.names:
            print(fetch(KNOWN[name], url=args.url))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
