"""What the mask generator of a config finds, written to files."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from maskclippp.data.datasets import get_dataset, get_metadata, register_all
from maskclippp.data.names import dataset_folders
from maskclippp.evaluation.mask_writer import MaskWriter
from maskclippp.inference import TaskInference
from maskclippp.methods import Labeller, Method, build_method
from maskclippp.utils.errors import UserError
from maskclippp.utils.logging import setup_logging

from .evaluate import vocabularies
from .inference import run_inference
from .loader import build_test_loader
from .main import load_for_evaluation
from .progress import Progress, identity, weights_hash

logger = logging.getLogger(__name__)


def run(cfg: CfgNode, out: str) -> None:
    """Build the model and write its masks in this process, which may be one of several.

    Raises:
        UserError: no test dataset, wrong files in one, or a config without a generator.
    """
    setup_logging(cfg.OUTPUT_DIR, comm.get_rank())
    register_all()
    method = build_method(cfg)
    load_for_evaluation(cfg, method, resume=False)
    write_generated_masks(cfg, method, out)


@torch.no_grad()
def write_generated_masks(cfg: CfgNode, method: Method, out: str | Path) -> list[Path]:
    """Write the masks of every dataset of DATASETS.TEST to ``<out>/<dataset>.json``.

    Several processes share the work; one that was killed goes on where it was (TEST.SAVE_STATE_SECONDS).

    Args:
        cfg: configuration.
        method: built from ``cfg``.
        out: folder for the files; made if missing.

    Returns:
        The files; none but on the main process.

    Raises:
        UserError: no test dataset, or wrong files in one.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty; name the dataset to make masks for there")
    weights = weights_hash(method)
    tasks = TaskInference(segmentor_only=True)
    written = []
    folders = dataset_folders(cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        records = get_dataset(name, allow_incomplete=cfg.DATASETS.ALLOW_INCOMPLETE)
        prepared = method.prepare(get_metadata(name), only_masks=True, spread=True)
        path = Path(out) / f"{folders[name]}.json"
        same = identity(cfg, weights, records, vocabularies(cfg, name))
        progress = Progress(Path(out) / folders[name], same, cfg.TEST.SAVE_STATE_SECONDS)
        labeller = Labeller(method, prepared, tasks)
        found = run_inference(labeller, method, partial(build_test_loader, cfg, records), MaskWriter(path), progress)
        if found:
            counts = found["masks"]
            logger.info("%s: %d masks of %d pictures", path, counts["masks"], counts["images"])
            written.append(path)
    return written
