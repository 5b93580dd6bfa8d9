"""What the mask generator of a config finds, written to files."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from maskclippp.data.datasets import get_dataset, get_metadata, register_all
from maskclippp.data.names import dataset_folders
from maskclippp.evaluation.mask_writer import MaskWriter
from maskclippp.utils.errors import UserError
from maskclippp.utils.logging import setup_logging

from .evaluate import OpenVocabularyModel, vocabularies
from .inference import run_inference
from .loader import build_test_loader
from .main import build_architecture, load_for_evaluation
from .progress import Progress, identity, weights_hash

logger = logging.getLogger(__name__)


def run(cfg: CfgNode, out: str) -> None:
    """Build the model and write its masks in this process, which may be one of several.

    Raises:
        UserError: no test dataset, wrong files in one, or a config without a generator.
    """
    setup_logging(cfg.OUTPUT_DIR, comm.get_rank())
    register_all()
    model = build_architecture(cfg)
    load_for_evaluation(cfg, model, resume=False)
    write_generated_masks(cfg, model, out)


@torch.no_grad()
def write_generated_masks(cfg: CfgNode, model: nn.Module, out: str | Path) -> list[Path]:
    """Write the masks of every dataset of DATASETS.TEST to ``<out>/<dataset>.json``.

    Several processes share the work; one that was killed goes on where it was (TEST.SAVE_STATE_SECONDS).

    Args:
        cfg: with MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY on, so that the model returns masks only.
        model: built from ``cfg``.
        out: folder for the files; made if missing.

    Returns:
        The files; none but on the main process.

    Raises:
        UserError: no test dataset, or wrong files in one.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty; name the dataset to make masks for there")
    weights = weights_hash(model)
    written = []
    folders = dataset_folders(cfg.DATASETS.TEST)
    for name in cfg.DATASETS.TEST:
        records = get_dataset(name, allow_incomplete=cfg.DATASETS.ALLOW_INCOMPLETE)
        if isinstance(model, OpenVocabularyModel):
            model.set_metadata(get_metadata(name))
            model.prepare_inference()
        path = Path(out) / f"{folders[name]}.json"
        same = identity(cfg, weights, records, vocabularies(cfg, name))
        progress = Progress(Path(out) / folders[name], same, cfg.TEST.SAVE_STATE_SECONDS)
        found = run_inference(model, partial(build_test_loader, cfg, records), MaskWriter(path), progress)
        if found:
            counts = found["masks"]
            logger.info("%s: %d masks of %d pictures", path, counts["masks"], counts["images"])
            written.append(path)
    return written
