"""The command line of training and evaluation."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.utils import comm

from maskclippp.config import check_config, load_config
from maskclippp.data.datasets import register_all
from maskclippp.methods import Method, build_method
from maskclippp.utils.dist import Group, launch, under_torchrun
from maskclippp.utils.errors import UserError, error_line, told_in_one_line
from maskclippp.utils.logging import setup_logging
from maskclippp.utils.plugins import load_plugins
from maskclippp.utils.run_lock import only_run

from .checkpoint import Checkpointer
from .evaluate import Results, evaluate, verify_results
from .resume import begin, keep_config, require_run
from .seeding import Stream, seed_everything, settle_seed
from .trainer import train
from .untrained import check_trained

EPILOG = """
examples:
  train on two GPUs:   %(prog)s --config-file configs/toy/maskclippp_toy_clip-vit.yaml --num-gpus 2 --tag first
  on the CPU:          %(prog)s --config-file ... --num-gpus 0 --tag first
  with own parts:      %(prog)s --plugin my_policy.py --config-file ... VISUAL_ENCODER.MASK_POLICY MyPolicy
  continue:            %(prog)s --config-file ... --num-gpus 0 --tag first --resume
  evaluate:            %(prog)s --config-file ... --num-gpus 0 --tag first --eval-only MODEL.WEIGHTS CHECKPOINT
"""

logger = logging.getLogger(__name__)


def argument_parser() -> argparse.ArgumentParser:
    """Return detectron2's parser, with a tag for the output folder, CPU processes and plug-ins."""
    parser = default_argument_parser(epilog=EPILOG)
    parser.set_defaults(dist_url="auto")
    parser.add_argument(
        "--tag", default="default", help="output goes to output/<config name>/<tag>; 'default' is today's MMDD"
    )
    parser.add_argument("--num-processes", type=int, default=1, help="number of CPU processes, with --num-gpus 0")
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE_OR_MODULE",
        help="code of your own that registers parts, a .py file or a module; may be given several times",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status. A wrong input is told in one line on stderr."""
    args = argument_parser().parse_args(arguments)
    folder = ""
    try:
        cfg = configure(args)
        folder = cfg.OUTPUT_DIR
        launch_alone(run, (cfg, args.eval_only, args.resume), args, cfg)
    except KeyboardInterrupt:
        print("error: interrupted; a training goes on with --resume", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        if not told_in_one_line(error):
            raise
        print(f"error: {error_line(error, folder=folder)}", file=sys.stderr)
        return 1
    return 0


def launch_alone(function: Callable[..., Any], parameters: tuple, args: argparse.Namespace, cfg: CfgNode) -> None:
    """Call ``function(*parameters)`` in the processes that a command line asks for; no other run may use the folder.

    Raises:
        UserError: another run is at work there; --resume, and there is nothing to resume; see :func:`launch` too.
    """
    group = Group(
        per_machine=args.num_gpus if _on_gpu(cfg) else args.num_processes,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        on_gpu=_on_gpu(cfg),
        url=args.dist_url,
    )
    # The processes of one run, on other machines too, are one.
    is_first = os.environ["RANK"] == "0" if under_torchrun() else group.machine_rank == 0
    if is_first and args.resume:
        require_run(cfg.OUTPUT_DIR, eval_only=args.eval_only)
    with only_run(cfg.OUTPUT_DIR) if is_first else contextlib.nullcontext():
        launch(_with_plugins, (tuple(args.plugin), function, parameters), group)


def _with_plugins(plugins: Sequence[str], function: Callable[..., Any], parameters: tuple) -> None:
    """Call ``function(*parameters)`` in a process that knows the plug-ins; one that was spawned does not yet."""
    load_plugins(plugins)
    function(*parameters)


def configure(args: argparse.Namespace) -> CfgNode:
    """Import the plug-ins of a command line; return its frozen config, with device and output folder settled.

    Raises:
        UserError: a plug-in that cannot be imported, no config file, a wrong one, wrong overrides, numbers of processes
            that cannot be, more GPUs than there are, or a tag that leads out of the output folder.
    """
    if not args.config_file:
        raise UserError("name a config file with --config-file; those of the project are under configs/")
    _check_counts(args)
    load_plugins(args.plugin)
    cfg = load_config(args.config_file, args.opts)
    check_config(cfg)
    cfg.OUTPUT_DIR = _output_folder(cfg.OUTPUT_DIR, Path(args.config_file).stem, args.tag)
    cfg.MODEL.DEVICE = _device(cfg.MODEL.DEVICE, args.num_gpus)
    if _on_gpu(cfg) and args.num_processes != 1:
        raise UserError(f"--num-processes {args.num_processes} is for the CPU, with --num-gpus 0")
    cfg.freeze()
    return cfg


def _check_counts(args: argparse.Namespace) -> None:
    for option, value, least in (
        ("--num-gpus", args.num_gpus, 0),
        ("--num-processes", args.num_processes, 1),
        ("--num-machines", args.num_machines, 1),
        ("--machine-rank", args.machine_rank, 0),
    ):
        if value < least:
            raise UserError(f"{option} {value}: it must be at least {least}")
    if args.machine_rank >= args.num_machines:
        raise UserError(f"--machine-rank {args.machine_rank}: of --num-machines {args.num_machines}, counted from 0")


def _output_folder(root: str, config_name: str, tag: str) -> str:
    """OUTPUT_DIR/<config name>/<tag>; a tag may have slashes, but not lead elsewhere."""
    tag = time.strftime("%m%d") if tag == "default" else tag
    parts = Path(tag).parts
    if not parts or Path(tag).is_absolute() or ".." in parts or not tag.isprintable():
        raise UserError(f"--tag {tag!r}: it must name a folder below {os.path.join(root, config_name)}")
    return os.path.join(root, config_name, *parts)


def _device(wanted: str, num_gpus: int) -> str:
    """The device for MODEL.DEVICE and --num-gpus."""
    if wanted not in ("cpu", "cuda"):
        raise UserError(f"MODEL.DEVICE '{wanted}' must be cuda or cpu; CUDA_VISIBLE_DEVICES chooses a GPU")
    if wanted == "cpu" or num_gpus == 0:
        return "cpu"
    available = torch.cuda.device_count()
    if available == 0:
        raise UserError(f"--num-gpus {num_gpus}: no GPU is found here; --num-gpus 0 runs on the CPU")
    if available < num_gpus:
        raise UserError(f"--num-gpus {num_gpus}: this machine has {available}")
    return "cuda"


def run(cfg: CfgNode, eval_only: bool, resume: bool) -> Results:
    """Train or evaluate in this process, which may be one of several; return the final results (rank 0)."""
    setup_logging(cfg.OUTPUT_DIR, comm.get_rank())
    if not _on_gpu(cfg):
        logger.info("Running on the CPU; processes: %d", comm.get_world_size())
    register_all()
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not eval_only
    # The seed in the folder itself is that of the training.
    inference = os.path.join(cfg.OUTPUT_DIR, "inference")
    if comm.is_main_process():
        keep_config(cfg, "inference/config.yaml") if eval_only else begin(cfg, resume=resume)
    comm.synchronize()
    seed = settle_seed(cfg.SEED, inference if eval_only else cfg.OUTPUT_DIR, resume=resume)
    seed_everything(seed, Stream.INITIALISATION)
    method = build_method(cfg)
    if eval_only:
        load_for_evaluation(cfg, method, resume=resume)
        results = evaluate(cfg, method, augmented=cfg.TEST.AUG.ENABLED)
    else:
        results = train(cfg, method, seed=seed, resume=resume)
    if comm.is_main_process():
        verify_results(cfg.TEST.EXPECTED_RESULTS, results)
    return results


def load_for_evaluation(cfg: CfgNode, method: Method, *, resume: bool) -> None:
    """Load MODEL.WEIGHTS, or the newest checkpoint of the output folder.

    Raises:
        UserError: no checkpoint, a file that does not fit, or a head that stays random.
    """
    checkpointer = Checkpointer(method, cfg.OUTPUT_DIR, for_evaluation=True)
    newest = checkpointer.get_checkpoint_file() if resume else ""
    source = newest or cfg.MODEL.WEIGHTS
    checkpointer.load(source, checkpointables=None if newest else [])
    check_trained(cfg, method, checkpointer.loaded, source)


def _on_gpu(cfg: CfgNode) -> bool:
    return cfg.MODEL.DEVICE.startswith("cuda")
