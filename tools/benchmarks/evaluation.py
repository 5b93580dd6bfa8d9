"""Semantic evaluation of many small label maps against detectron2's evaluator."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator as Detectron2SemSegEvaluator
from PIL import Image
from torch import Tensor

from maskclippp.evaluation.semantic import SemSegEvaluator

from .settings import Run, Settings

DATASET = "benchmark_evaluation"
IGNORE = 65535
SEGMENTS = 12
DIFFERENT = 50
"""Label maps that differ; the images of a larger set share them, so that the disk is no part of the job."""


def evaluate(variant: str, settings: Settings) -> Run:
    """Score ``batch`` predicted label maps of ``image_size`` against files; the model is left out.

    Detectron2 is handed the arg-max that it would compute from scores.
    """
    folder = tempfile.TemporaryDirectory()
    records, predictions = _world(Path(folder.name), settings)
    names = [f"class {index}" for index in range(settings.classes)]
    if variant == "ours":
        evaluator = SemSegEvaluator(names, ignore_label=IGNORE, boundary=False)
        outputs = [{"sem_seg_labels": labels} for labels in predictions]
    else:
        evaluator = _detectron2_evaluator(records, names)
        outputs = [{"sem_seg": _Scores(labels)} for labels in predictions]

    def run() -> dict[str, Tensor]:
        assert folder.name  # the files live as long as this function
        evaluator.reset()
        for index, record in enumerate(records):
            evaluator.process([record], [outputs[index % len(outputs)]])
        scores = evaluator.evaluate()["sem_seg"]
        # mIoU is another mean in old releases of detectron2.
        keys = ["fwIoU", "pACC", "mACC", *(f"{kind}-{name}" for kind in ("IoU", "ACC") for name in names)]
        return {"scores": torch.tensor([scores[key] for key in keys]).nan_to_num(-1.0)}

    return run


class _Scores:
    """Stands for the (K, H, W) scores of which only the arg-max is asked."""

    def __init__(self, labels: Tensor) -> None:
        self._labels = labels

    def argmax(self, dim: int) -> Tensor:
        """The (H, W) labels."""
        assert dim == 0
        return self._labels


def _detectron2_evaluator(records: list[dict[str, Any]], names: list[str]) -> Detectron2SemSegEvaluator:
    DatasetCatalog.register(DATASET, lambda: records)
    MetadataCatalog.get(DATASET).set(stuff_classes=names, ignore_label=IGNORE)
    try:
        return Detectron2SemSegEvaluator(DATASET, distributed=False)
    finally:
        DatasetCatalog.remove(DATASET)
        MetadataCatalog.remove(DATASET)


def _world(folder: Path, settings: Settings) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Records with 16-bit label maps of a dozen segments, and predictions that are wrong on some."""
    rng = np.random.default_rng(0)
    side, paths, predictions = settings.image_size, [], []
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1)
    for index in range(min(settings.batch, DIFFERENT)):
        seeds = rng.integers(0, side, (SEGMENTS, 2))
        owner = ((places[:, :, None] - seeds) ** 2).sum(axis=-1).argmin(axis=-1)
        classes = rng.integers(0, settings.classes, SEGMENTS)
        guessed = np.where(rng.random(SEGMENTS) < 0.3, rng.integers(0, settings.classes, SEGMENTS), classes)
        truth = classes[owner].astype(np.uint16)
        truth[: side // 16] = IGNORE
        paths.append(str(folder / f"{index}.png"))
        Image.fromarray(truth).save(paths[-1])
        predictions.append(torch.from_numpy(guessed[np.roll(owner, 2, axis=0)]))
    records = [
        {"file_name": f"{index}.jpg", "sem_seg_file_name": paths[index % len(paths)]} for index in range(settings.batch)
    ]
    return records, predictions
