"""The command line of training and evaluation."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.utils import comm
from torch import nn

import maskclippp.methods  # noqa: F401  (registers the meta-architectures)
from maskclippp.config import load_config
from maskclippp.data.datasets import register_all
from maskclippp.utils.dist import Group, launch
from maskclippp.utils.errors import UserError, did_you_mean
from maskclippp.utils.files import atomic_write
from maskclippp.utils.logging import setup_logging

from .checkpoint import Checkpointer
from .evaluate import Results, evaluate, verify_results
from .seeding import Stream, seed_everything, settle_seed
from .trainer import train

EPILOG = """
examples:
  train on two GPUs:   %(prog)s --config-file configs/toy/maskclippp_toy_clip-vit.yaml --num-gpus 2 --tag first
  on the CPU:          %(prog)s --config-file ... --num-gpus 0 --tag first
  continue:            %(prog)s --config-file ... --num-gpus 0 --tag first --resume
  evaluate:            %(prog)s --config-file ... --num-gpus 0 --tag first --eval-only MODEL.WEIGHTS CHECKPOINT
"""

logger = logging.getLogger(__name__)


def argument_parser() -> argparse.ArgumentParser:
    """Return detectron2's parser, with a tag for the output folder and CPU processes."""
    parser = default_argument_parser(epilog=EPILOG)
    parser.set_defaults(dist_url="auto")
    parser.add_argument(
        "--tag", default="default", help="output goes to output/<config name>/<tag>; 'default' is today's MMDD"
    )
    parser.add_argument("--num-processes", type=int, default=1, help="number of CPU processes, with --num-gpus 0")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status. A wrong input is told in one line on stderr."""
    args = argument_parser().parse_args(arguments)
    try:
        cfg = configure(args)
        group = Group(
            per_machine=args.num_gpus if _on_gpu(cfg) else args.num_processes,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            on_gpu=_on_gpu(cfg),
            url=args.dist_url,
        )
        launch(run, (cfg, args.eval_only, args.resume), group)
    except (UserError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def configure(args: argparse.Namespace) -> CfgNode:
    """Return the frozen config of a command line, with device and output folder settled.

    Raises:
        UserError: no config file, a wrong one, wrong overrides, or more GPUs wanted than there are.
    """
    if not args.config_file:
        raise UserError("name a config file with --config-file; those of the project are under configs/")
    cfg = load_config(args.config_file, args.opts)
    tag = time.strftime("%m%d") if args.tag == "default" else args.tag
    cfg.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, Path(args.config_file).stem, tag)
    available = torch.cuda.device_count() if args.num_gpus and cfg.MODEL.DEVICE != "cpu" else 0
    if 0 < available < args.num_gpus:
        raise UserError(f"--num-gpus {args.num_gpus}: this machine has {available}")
    cfg.MODEL.DEVICE = "cuda" if available else "cpu"
    cfg.freeze()
    return cfg


def run(cfg: CfgNode, eval_only: bool, resume: bool) -> Results:
    """Train or evaluate in this process, which may be one of several; return the final results (rank 0)."""
    setup_logging(cfg.OUTPUT_DIR, comm.get_rank())
    if not _on_gpu(cfg):
        logger.info("Running on the CPU (--num-gpus 0, or no GPU found); processes: %d", comm.get_world_size())
    register_all()
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not eval_only
    seed = settle_seed(cfg.SEED, cfg.OUTPUT_DIR, resume=resume)
    seed_everything(seed, Stream.INITIALISATION)
    _keep_config(cfg, "inference/config.yaml" if eval_only else "config.yaml")
    model = build_architecture(cfg)
    if eval_only:
        Checkpointer(model, cfg.OUTPUT_DIR, for_evaluation=True).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
        results = evaluate(cfg, model, augmented=cfg.TEST.AUG.ENABLED)
    else:
        results = train(cfg, model, seed=seed, resume=resume)
    if comm.is_main_process():
        verify_results(cfg.TEST.EXPECTED_RESULTS, results)
    return results


def build_architecture(cfg: CfgNode) -> nn.Module:
    """Build the model that MODEL.META_ARCHITECTURE names.

    Raises:
        UserError: nothing is registered under that name, or its config is wrong.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        valid = [key for key, _ in META_ARCH_REGISTRY]
        raise UserError(f"MODEL.META_ARCHITECTURE '{name}' is not known{did_you_mean(name, valid)}")
    return build_model(cfg)


def _on_gpu(cfg: CfgNode) -> bool:
    return cfg.MODEL.DEVICE.startswith("cuda")


def _keep_config(cfg: CfgNode, name: str) -> None:
    if comm.is_main_process():
        with atomic_write(Path(cfg.OUTPUT_DIR) / name) as temporary:
            temporary.write_text(cfg.dump())
