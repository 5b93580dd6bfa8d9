#!/usr/bin/env python3
"""Measure our formulations against the plain ones: time and peak memory, in turn in one run, after they agree.

mask-embed   image tokens through plain attention and mask tokens as a Q x hw cross-attention, against mask tokens in
             one attention with a full (Q + L) x (Q + L) bias per block and head
mask-cost    our mask embeddings against plain CLIP's image embedding
text         sentences cut after the longest one's end token, against the whole context of 77
postprocess  the label map of a picture from 847 classes' scores, tile by tile, against all class maps at once
mask-chain   a generator's masks brought to the patch grid in one step, against all resizes one after the other
deform-attn  deformable attention at 800 x 1088, against grid_sample level by level with all samples stacked
evaluate     label maps scored against files, --batch of them (try 5000 with --classes 847 --image-size 128), against
             detectron2's evaluator
train-step   both at once in a training step (attention of both towers, or with --text frozen of one, LinearPSM, AdamW)

By default a ViT-B/16 with random weights sees two pictures of 448 x 448 pixels with 10 masks each; mask tokens run
through the last 3 of 12 blocks (MASK_PRIOR_BEG 10); 171 names go through one template.

Example:
    python tools/benchmark.py mask-embed --repeats 5 --json output/benchmark.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys

from benchmarks import JOBS, MODELS, Settings, run_benchmark, table
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write


def main() -> None:
    """Read the command line, measure, print and write."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=list(JOBS))
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    parser.add_argument("--size", choices=list(MODELS), default=defaults.size)
    parser.add_argument("--image-size", type=int, default=defaults.image_size)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--masks", type=int, default=defaults.masks, help="per picture")
    parser.add_argument("--classes", type=int, default=defaults.classes)
    parser.add_argument("--templates", choices=("t1", "t14"), default=defaults.templates)
    parser.add_argument("--blocks-with-masks", type=int, default=defaults.blocks_with_masks)
    parser.add_argument("--text", choices=("tuned", "frozen"), default=defaults.text, help="text tower of a train-step")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default=defaults.precision)
    parser.add_argument(
        "--output-size", type=_size, default=defaults.output_size, metavar="HxW", help="of a label map (512x683)"
    )
    parser.add_argument("--device", default=defaults.device)
    options = vars(parser.parse_args())
    job, path, repeats, threads = (options.pop(key) for key in ("job", "json", "repeats", "threads"))
    logging.disable(logging.WARNING)  # libraries warn that the models have no pretrained weights
    try:
        result = run_benchmark(job, Settings(**options), repeats=repeats, threads=threads)
    except (UserError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(table(result))
    if path:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")


def _size(text: str) -> tuple[int, int]:
    height, width = text.split("x")
    return int(height), int(width)


if __name__ == "__main__":
    main()
