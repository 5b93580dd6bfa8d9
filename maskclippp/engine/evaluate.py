"""Evaluation of a model on the test datasets of a config."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset, print_csv_format
from detectron2.utils import comm
from torch import nn

from maskclippp.data.datasets import get_metadata
from maskclippp.evaluation.build import build_evaluator_from_cfg
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .loader import build_test_loader

Results = dict[str, Any]


@runtime_checkable
class OpenVocabularyModel(Protocol):
    """A model whose test vocabulary can be changed."""

    def set_metadata(self, metadata: Any) -> None:
        """Take the class names of a dataset."""

    def prepare_inference(self) -> None:
        """Do what all ranks do together before the first image."""

    def return_label_maps(self) -> None:
        """Let inference return label maps instead of the scores of all classes; our evaluators take both."""


def evaluate(cfg: CfgNode, model: nn.Module) -> Results:
    """Evaluate on every dataset of DATASETS.TEST and print the results as copypaste lines.

    Returns:
        On rank 0 {dataset: {task: {metric: value}}}, which is also written to OUTPUT_DIR/inference/results.json;
        elsewhere an empty dict.

    Raises:
        UserError: no test dataset, or wrong files in one.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty; name the test dataset there")
    folder = os.path.join(cfg.OUTPUT_DIR, "inference")
    results: Results = {}
    for name in cfg.DATASETS.TEST:
        loader = build_test_loader(cfg, name)
        if isinstance(model, OpenVocabularyModel):
            model.set_metadata(get_metadata(name))
            model.prepare_inference()
            model.return_label_maps()
        # The name of a dataset may be a path; its folder must not leave the output.
        evaluator = build_evaluator_from_cfg(cfg, name, os.path.join(folder, name.strip("./~").replace("/", "_")))
        found = inference_on_dataset(model, loader, evaluator)
        if comm.is_main_process():
            results[name] = found
            print_csv_format(found)
    if comm.is_main_process():
        with atomic_write(Path(folder) / "results.json") as temporary:
            temporary.write_text(json.dumps(_without_nan(results), indent=1) + "\n")
    return results


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
