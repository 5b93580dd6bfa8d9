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
from maskclippp.engine.main import argument_parser, configure
from maskclippp.utils.dist import Group, launch
from maskclippp.utils.errors import UserError


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
        on_gpu = cfg.MODEL.DEVICE.startswith("cuda")
        per_machine = args.num_gpus if on_gpu else args.num_processes
        group = Group(per_machine, args.num_machines, args.machine_rank, on_gpu=on_gpu, url=args.dist_url)
        launch(run, (cfg, args.out), group)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
