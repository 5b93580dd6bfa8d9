#!/usr/bin/env python3
"""Write class-agnostic masks of pictures to files that OfflineSegmentor reads, by a classical segmentation.

Example:
    python tools/make_offline_masks.py datasets/toy/images/test --out output/masks/test --workers 2
"""

from __future__ import annotations

import argparse
import sys

from maskclippp.offline_masks import write_masks
from maskclippp.utils.errors import UserError


def main() -> None:
    """Parse the command line and write the masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="folder of pictures (.jpg, .jpeg, .png)")
    parser.add_argument("--out", required=True, help="folder for the masks: one PNG label map per picture")
    parser.add_argument("--scale", type=float, default=150.0, help="larger means larger regions (default 150)")
    parser.add_argument("--sigma", type=float, default=0.8, help="blur before, in pixels (default 0.8)")
    parser.add_argument("--min-size", type=int, default=30, help="smallest region, in pixels (default 30)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    args = parser.parse_args()
    try:
        count = write_masks(
            args.images, args.out, workers=args.workers, scale=args.scale, sigma=args.sigma, min_size=args.min_size
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(f"{count} mask files in {args.out}; use MODEL.MASKCLIPPP.SEGMENTOR.NAME OfflineSegmentor")


if __name__ == "__main__":
    main()
