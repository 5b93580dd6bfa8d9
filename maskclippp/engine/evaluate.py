"""Evaluation of a model on the test datasets of a config."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from detectron2.utils import comm

from maskclippp.data.datasets import get_metadata, open_dataset
from maskclippp.data.datasets.completeness import Loaded
from maskclippp.data.names import dataset_folders
from maskclippp.evaluation.build import build_evaluator_from_cfg
from maskclippp.evaluation.class_metric import overall
from maskclippp.evaluation.domains import PARTIAL, domain_means
from maskclippp.evaluation.similarity import text_similarity
from maskclippp.inference import TaskInference
from maskclippp.methods import AugmentedLabeller, Labeller, Method
from maskclippp.structures import PreparedVocabulary
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .inference import run_inference
from .loader import Record, build_test_loader
from .progress import Progress, identity, weights_hash

Results = dict[str, Any]

logger = logging.getLogger(__name__)


def evaluate(cfg: CfgNode, method: Method, *, augmented: bool = False) -> Results:
    """Evaluate on every dataset of DATASETS.TEST and print the results as copypaste lines.

    Args:
        cfg: configuration.
        method: nothing in it changes.
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
    tasks = TaskInference.from_config(cfg, label_maps=True)
    if augmented:
        _check_augmentation(tasks)
    folder = os.path.join(cfg.OUTPUT_DIR, "inference")
    weights = weights_hash(method) if cfg.TEST.SAVE_STATE_SECONDS else ""
    results: Results = {}
    for name in cfg.DATASETS.TEST:
        dataset = open_dataset(name, allow_incomplete=cfg.DATASETS.ALLOW_INCOMPLETE)
        evaluation = _Evaluation(cfg, method, name, dataset.records, weights)
        prepared = method.prepare(get_metadata(name), only_masks=tasks.segmentor_only, spread=True)
        similarity = _similarity(cfg, method, prepared)
        found = _partial(dataset) | evaluation.run(Labeller(method, prepared, tasks), folder, similarity)
        if augmented:
            label_maps = replace(tasks, semantic=True, panoptic=False, instance=False)
            labeller = AugmentedLabeller(method, prepared, label_maps, DatasetMapperTTA(cfg))
            scores = evaluation.run(labeller, f"{folder}_TTA", similarity)
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


@dataclass(frozen=True)
class _Evaluation:
    """One dataset, and what identifies a state of its evaluation."""

    cfg: CfgNode
    method: Method
    name: str
    records: list[Record]
    weights: str

    def run(self, label: Labeller | AugmentedLabeller, folder: str, similarity: np.ndarray | None) -> Results:
        """Show the results of all pictures to the dataset's evaluators."""
        output = os.path.join(folder, dataset_folders(self.cfg.DATASETS.TEST)[self.name])
        seconds = self.cfg.TEST.SAVE_STATE_SECONDS
        evaluator = build_evaluator_from_cfg(self.cfg, self.name, label.tasks, output, similarity)
        same = identity(self.cfg, self.weights, self.records, vocabularies(self.cfg, self.name)) if seconds else ""
        load = partial(build_test_loader, self.cfg, self.records)
        return run_inference(label, self.method, load, evaluator, Progress(output, same, seconds))


def vocabularies(cfg: CfgNode, name: str) -> dict[str, Any]:
    """Return the metadata of a test dataset, and with them the classes that count as seen in training."""
    trained = [get_metadata(each).as_dict() for each in cfg.DATASETS.TRAIN[:1]]
    seen = [[each.get("stuff_classes"), each.get("thing_classes")] for each in trained]
    return {**get_metadata(name).as_dict(), "seen in training": seen}


def _check_augmentation(tasks: TaskInference) -> None:
    """Raise UserError, before anything is evaluated, if TEST.AUG has nothing to augment."""
    for name, on in (("SEGMENTOR_ONLY", tasks.segmentor_only), ("MASK_ACC", tasks.mask_accuracy)):
        if on:
            raise UserError(
                f"TEST.AUG is for label maps; MODEL.MASKCLIPPP.TEST.{name} makes none; set TEST.AUG.ENABLED False"
            )


def _print(name: str, results: Results) -> None:
    logger.info("Evaluation results for %s in csv format:", name)
    for task, metrics in results.items():  # as detectron2 prints them, but it would leave out all names with a hyphen
        means = overall(metrics)
        logger.info("copypaste: Task: %s", task)
        logger.info("copypaste: %s", ",".join(means))
        logger.info("copypaste: %s", ",".join(f"{value:.4f}" for value in means.values()))


def _similarity(cfg: CfgNode, method: Method, prepared: PreparedVocabulary) -> np.ndarray | None:
    """The similarity of the test classes' names, if it is wanted."""
    if not cfg.TEST.SIMILARITY_SCORES:
        return None
    bank = prepared.bank
    if bank is None:
        raise UserError(f"TEST.SIMILARITY_SCORES: a {type(method).__name__} has no text embeddings here; switch it off")
    return text_similarity(bank.embeddings, bank.class_index, bank.num_classes)


def summary(results: Results) -> Results:
    """Return results without the metrics of single classes; of one dataset, without its name as well."""
    means = {name: {task: overall(metrics) for task, metrics in tasks.items()} for name, tasks in results.items()}
    return next(iter(means.values())) if len(means) == 1 else means


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
