"""Evaluation of a model on the test datasets of a config."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import print_csv_format
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from detectron2.utils import comm
from torch import nn

from maskclippp.data.datasets import get_metadata, open_dataset
from maskclippp.data.datasets.completeness import Loaded
from maskclippp.data.names import dataset_folders
from maskclippp.evaluation.build import build_evaluator_from_cfg
from maskclippp.evaluation.domains import PARTIAL, domain_means
from maskclippp.evaluation.similarity import text_similarity
from maskclippp.methods.tta import MaskLabeller, SemanticTTA
from maskclippp.structures import TextBank
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .inference import run_inference
from .loader import Record, build_test_loader
from .progress import Progress, identity, weights_hash

Results = dict[str, Any]

logger = logging.getLogger(__name__)


@runtime_checkable
class OpenVocabularyModel(Protocol):
    """A model whose test vocabulary can be changed."""

    def set_metadata(self, metadata: Any) -> None:
        """Take the class names of a dataset."""

    def prepare_inference(self) -> None:
        """Do what all ranks do together before the first image."""

    def return_label_maps(self) -> None:
        """Let inference return label maps instead of the scores of all classes; our evaluators take both."""


@runtime_checkable
class HasTextBank(Protocol):
    """A model that knows its test vocabulary by text embeddings."""

    def test_bank(self) -> TextBank:
        """Return the text bank of the test vocabulary."""


def evaluate(cfg: CfgNode, model: nn.Module, *, augmented: bool = False) -> Results:
    """Evaluate on every dataset of DATASETS.TEST and print the results as copypaste lines.

    Args:
        cfg: configuration.
        model: returns one dict of results per record.
        augmented: evaluate semantic segmentation once more with test-time augmentation (TEST.AUG); the task of these
            results is called "sem_seg_TTA".

    Returns:
        On rank 0 {dataset: {task: {metric: value}}}, which is also written to OUTPUT_DIR/inference/results.json;
        elsewhere an empty dict.

    Raises:
        UserError: no test dataset, wrong files in one, or augmentation of what cannot be augmented.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty; name the test dataset there")
    if augmented:
        _check_augmentation(cfg, model)
    folder = os.path.join(cfg.OUTPUT_DIR, "inference")
    weights = weights_hash(model) if cfg.TEST.SAVE_STATE_SECONDS else ""
    results: Results = {}
    for name in cfg.DATASETS.TEST:
        dataset = open_dataset(name, allow_incomplete=cfg.DATASETS.ALLOW_INCOMPLETE)
        if isinstance(model, OpenVocabularyModel):
            model.set_metadata(get_metadata(name))
            model.prepare_inference()
            model.return_label_maps()
        similarity = _similarity(cfg, model)
        found = _partial(dataset) | _evaluate_one(cfg, model, name, dataset.records, folder, weights, similarity)
        if augmented:
            only_semantic, tta = _augmentation(cfg, model)
            scores = _evaluate_one(only_semantic, tta, name, dataset.records, f"{folder}_TTA", weights, similarity)
            found |= {f"{task}_TTA": values for task, values in scores.items()}
        if comm.is_main_process():
            results[name] = found
            _print(name, found)
            if dataset.gaps:
                logger.warning("%s: these results are of a part of the dataset: %s", name, ", ".join(dataset.gaps))
            _write(folder, results)  # already here: an error in the next dataset loses nothing
    domains = {name: get_metadata(name).get("domain", "") for name in results}
    if len([domain for domain in domains.values() if domain]) > 1:
        for domain, means in domain_means(results, domains).items():
            results[f"mean of {domain}"] = means
            _print(f"mean of {domain}", means)
        _write(folder, results)
    return results


def _partial(dataset: Loaded) -> Results:
    """The mark of results of an incomplete dataset: a task of its own, as results hold nothing but numbers."""
    if not dataset.gaps:
        return {}
    return {PARTIAL: {"images": float(len(dataset.records)), "of": float(dataset.total)}}


def _write(folder: str, results: Results) -> None:
    with atomic_write(Path(folder) / "results.json") as temporary:
        temporary.write_text(json.dumps(_without_nan(results), indent=1) + "\n")


def _evaluate_one(
    cfg: CfgNode,
    model: nn.Module,
    name: str,
    records: list[Record],
    folder: str,
    weights: str,
    similarity: np.ndarray | None,
) -> Results:
    output = os.path.join(folder, dataset_folders(cfg.DATASETS.TEST)[name])
    seconds = cfg.TEST.SAVE_STATE_SECONDS
    evaluator = build_evaluator_from_cfg(cfg, name, output, similarity)
    same = identity(cfg, weights, records, vocabularies(cfg, name)) if seconds else ""
    progress = Progress(output, same, seconds)
    return run_inference(model, partial(build_test_loader, cfg, records), evaluator, progress)


def vocabularies(cfg: CfgNode, name: str) -> dict[str, Any]:
    """Return the metadata of a test dataset, and with them the classes that count as seen in training."""
    trained = [get_metadata(each).as_dict() for each in cfg.DATASETS.TRAIN[:1]]
    seen = [[each.get("stuff_classes"), each.get("thing_classes")] for each in trained]
    return {**get_metadata(name).as_dict(), "seen in training": seen}


def _check_augmentation(cfg: CfgNode, model: nn.Module) -> None:
    """Raise UserError, before anything is evaluated, if TEST.AUG has nothing to augment."""
    switch_off = "set TEST.AUG.ENABLED False"
    if not isinstance(model, MaskLabeller):
        raise UserError(f"TEST.AUG needs a model that labels masks, not a {type(model).__name__}; {switch_off}")
    for name in ("SEGMENTOR_ONLY", "MASK_ACC"):
        if cfg.MODEL.MASKCLIPPP.TEST[name]:
            raise UserError(f"TEST.AUG is for label maps; MODEL.MASKCLIPPP.TEST.{name} makes none; {switch_off}")


def _augmentation(cfg: CfgNode, model: MaskLabeller) -> tuple[CfgNode, SemanticTTA]:
    """The config of an evaluation of label maps only, and the model that sees every picture several times."""
    cfg = cfg.clone()
    cfg.defrost()
    tasks = cfg.MODEL.MASK_FORMER.TEST
    tasks.SEMANTIC_ON, tasks.PANOPTIC_ON, tasks.INSTANCE_ON = True, False, False
    return cfg, SemanticTTA(model, DatasetMapperTTA(cfg))


def _print(name: str, results: Results) -> None:
    logger.info("Evaluation results for %s in csv format:", name)
    print_csv_format(results)


def _similarity(cfg: CfgNode, model: nn.Module) -> np.ndarray | None:
    """The similarity of the test classes' names, if it is wanted."""
    if not cfg.TEST.SIMILARITY_SCORES:
        return None
    if not isinstance(model, HasTextBank):
        raise UserError(f"TEST.SIMILARITY_SCORES: a {type(model).__name__} has no text embeddings; switch it off")
    bank = model.test_bank()
    return text_similarity(bank.embeddings, bank.class_index, bank.num_classes)


def summary(results: Results) -> Results:
    """Return results without the per-class metrics ("IoU-cat"); of one dataset, without its name as well."""
    overall = {
        name: {task: {k: v for k, v in metrics.items() if "-" not in k} for task, metrics in tasks.items()}
        for name, tasks in results.items()
    }
    return next(iter(overall.values())) if len(overall) == 1 else overall


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a class that does not occur is null."""
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    return None if math.isnan(value) else float(value)


def verify_results(expected: list[list[Any]], results: Results) -> None:
    """Compare results with TEST.EXPECTED_RESULTS.

    Args:
        expected: rows [task, metric, value, tolerance]; with several test datasets each begins with the dataset.
        results: of :func:`evaluate`.

    Raises:
        UserError: a metric is missing or off by more than its tolerance.
    """
    complaints = []
    for row in expected:
        *path, value, tolerance = row
        found: Any = next(iter(results.values())) if len(path) == 2 and len(results) == 1 else results
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        # Written so that NaN is a complaint.
        if found is None or not abs(found - value) <= tolerance:
            complaints.append(f"{'/'.join(path)} is {found}, expected {value} +- {tolerance}")
    if complaints:
        raise UserError(f"TEST.EXPECTED_RESULTS: {'; '.join(complaints)}")
