#!/usr/bin/env python3
"""Write the masks that a config's generator finds in DATASETS.TEST, as one JSON file per dataset.

OfflineSegmentor reads the files (SEGMENTOR.OFFLINE_ANN_DIR FILE), so that a slow generator runs once for many CLIPs.

Example:
    python tools/write_generated_masks.py --config-file CONFIG --num-gpus 1 --out output/masks \\
        DATASETS.TEST "('ade20k_panoptic_val',)"
"""

from __future__ import annotations

import argparse
import sys

from maskclippp.engine.generated_masks import run
from maskclippp.engine.main import argument_parser, configure, launch_alone
from maskclippp.utils.errors import error_line, told_in_one_line


def main() -> None:
    """Parse the command line and write the masks."""
    parser = argument_parser()
    parser.description, parser.epilog = __doc__, None
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", required=True, help="folder for the files")
    args = parser.parse_args()
    args.opts += ["MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY", "True"]
    try:
        cfg = configure(args)
        launch_alone(run, (cfg, args.out), args, cfg)
    except Exception as error:
        if not told_in_one_line(error):
            raise
        sys.exit(f"error: {error_line(error, folder=args.out)}")


if __name__ == "__main__":
    main()
