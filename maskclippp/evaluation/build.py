"""Which evaluators a dataset gets."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from maskclippp.data.datasets import get_metadata
from maskclippp.inference import TaskInference
from maskclippp.utils.errors import UserError, did_you_mean

from .dataset import EvaluatedDataset
from .mask_accuracy import MaskAccEvaluator
from .oracle import AssignedClassesEvaluator
from .recall import MaskRecallEvaluator
from .registry import ALWAYS, TASKS, RegisteredEvaluator, evaluator_types, evaluators_of
from .streaming import EvaluatorGroup, StreamingEvaluator

logger = logging.getLogger(__name__)


def build_evaluator_from_cfg(
    cfg: CfgNode,
    dataset_name: str,
    tasks: TaskInference,
    output_folder: str | None = None,
    similarity: np.ndarray | None = None,
) -> StreamingEvaluator:
    """Call :func:`build_evaluator` for what inference returns, with what TEST says about files.

    Args:
        cfg: configuration; TEST, DATASETS.ALLOW_INCOMPLETE and OUTPUT_DIR are read.
        dataset_name: a registered dataset.
        tasks: which results inference returns.
        output_folder: where results are written; OUTPUT_DIR/inference if None.
        similarity: (K, K) of the dataset's classes, for similarity-aware scores.
    """
    return build_evaluator(
        dataset_name,
        output_folder=output_folder or str(Path(cfg.OUTPUT_DIR) / "inference"),
        segmentor_only=tasks.segmentor_only,
        mask_accuracy=tasks.mask_accuracy,
        panoptic_masks=tasks.panoptic_masks,
        semantic=tasks.semantic,
        panoptic=tasks.panoptic,
        instance=tasks.instance,
        similarity=similarity,
        pictures=cfg.TEST.PICTURES,
        save_predictions=cfg.TEST.SAVE_PREDICTIONS,
        partial=cfg.DATASETS.ALLOW_INCOMPLETE,
    )


def build_evaluator(
    dataset_name: str,
    *,
    output_folder: str | None = None,
    segmentor_only: bool = False,
    mask_accuracy: bool = False,
    panoptic_masks: bool = False,
    semantic: bool = True,
    panoptic: bool = False,
    instance: bool = False,
    similarity: np.ndarray | None = None,
    pictures: int = 0,
    save_predictions: bool = False,
    partial: bool = False,
) -> StreamingEvaluator:
    """Return the evaluator of a dataset; several are one group.

    Generated masks alone and mask accuracy stand for themselves. Otherwise the dataset's ``evaluator_type`` decides,
    together with the tasks that are on.

    Args:
        dataset_name: a registered dataset.
        output_folder: where results are written, if given.
        segmentor_only: score the generated masks with the ground-truth class, and their recall.
        mask_accuracy: score the class of ground-truth masks.
        panoptic_masks: those masks are panoptic segments instead of the classes of a label map.
        semantic: score label maps.
        panoptic: score panoptic segments.
        instance: score instances.
        similarity: (K, K) of the dataset's classes; adds similarity-aware scores.
        pictures: draw confusions, and so many of the worst images.
        save_predictions: write label maps and panoptic segments.
        partial: not all images of the dataset are shown; Cityscapes' scripts must be told.

    Raises:
        UserError: unknown dataset, missing files or packages, or nothing that can be evaluated with these tasks.
    """
    metadata = get_metadata(dataset_name)
    dataset = EvaluatedDataset(metadata, output_folder, similarity, pictures, save_predictions, partial)
    on = {task for task, wanted in zip(TASKS, (semantic, panoptic, instance), strict=True) if wanted}
    if not metadata.get("has_annotations", True) and (segmentor_only or mask_accuracy):
        raise UserError(
            f"dataset '{dataset_name}' has no annotations; MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY and MASK_ACC need them"
        )
    if segmentor_only:
        oracle = AssignedClassesEvaluator.for_dataset(dataset, on)
        return EvaluatorGroup([oracle, MaskRecallEvaluator.for_dataset(dataset)])
    if mask_accuracy:
        return MaskAccEvaluator.for_dataset(dataset, panoptic=panoptic_masks)
    evaluators = [entry.kind.for_dataset(dataset) for entry in _planned(dataset, on)]
    return evaluators[0] if len(evaluators) == 1 else EvaluatorGroup(evaluators)


def _planned(dataset: EvaluatedDataset, on: set[str]) -> list[RegisteredEvaluator]:
    """Return the evaluators of a dataset for the tasks that are on.

    Raises:
        UserError: none of its tasks is.
    """
    entries = evaluators_of(dataset.evaluator_type)
    if not entries:
        kinds = evaluator_types()
        raise UserError(
            f"{dataset.where}: no evaluator is registered for this evaluator_type"
            f"{did_you_mean(dataset.evaluator_type, kinds)}; one of your own comes with --plugin"
        )
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    chosen = [entry for entry in entries if entry.task in on or entry.task == ALWAYS]
    if not chosen:
        keys = " or ".join(f"{task.upper()}_ON" for task in tasks)
        raise UserError(
            f"{dataset.where} is evaluated by the task{'s' if len(tasks) > 1 else ''} {', '.join(tasks)}, but the "
            f"tasks that are on are {', '.join(sorted(on)) or 'none'}; switch on MODEL.MASK_FORMER.TEST.{keys}"
        )
    rest = sorted(on - set(tasks))
    if rest and ALWAYS not in tasks:
        logger.info(
            "%s has no ground truth for what is on besides, and not evaluated: %s", dataset.where, ", ".join(rest)
        )
    return chosen
