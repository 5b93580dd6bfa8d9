#!/usr/bin/env python
"""Pre-train the tiny CLIP of the toy world and write it to the package's assets (about an hour on one core)."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from maskclippp.toy.pretrain import Settings, pretrain
from maskclippp.utils.errors import UserError
from maskclippp.utils.paths import ASSETS


def main() -> None:
    """Read the command line and run."""
    defaults = Settings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument(
        "--word-steps", type=int, default=defaults.word_steps, help="first steps, with the word loss only"
    )
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=1, help="of the training")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw the pictures")
    parser.add_argument(
        "--work-dir", type=Path, default=Path("output/pretrain_toy_clip"), help="checkpoint and vocabulary"
    )
    parser.add_argument(
        "--out", type=Path, default=ASSETS / "toy_clip", help="where model, tokenizer, weights and log go"
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the work folder")
    parser.add_argument("--ship-only", action="store_true", help="only write the latest checkpoint to --out")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = Settings(steps=args.steps, word_steps=args.word_steps, batch=args.batch, lr=args.lr, seed=args.seed)
    try:
        figures = pretrain(
            settings, work_dir=args.work_dir, folder=args.out, workers=args.workers, threads=args.threads,
            resume=args.resume, ship_only=args.ship_only, command=" ".join(["python", *sys.argv]),
        )  # fmt: skip
    except UserError as error:
        sys.exit(f"error: {error}")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
