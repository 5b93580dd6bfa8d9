"""A tiny model and dataset in the place of the real ones, and a command line that runs the engine on them.

Run as ``python tests/engine/standin.py ARGUMENTS``; the dataset is made in the folder of the variable STANDIN_ROOT.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from PIL import Image
from torch import nn

from maskclippp.engine.main import main
from maskclippp.methods import Method
from maskclippp.structures import DensePrediction, PreparedVocabulary, ResampledMasks

CLASSES = ["red", "green", "blue", "grey"]
SIZE = 24
COUNT = {"train": 11, "val": 7}


class StandIn(Method):
    """Labels each pixel; dropout makes every step depend on random numbers. ``frozen`` is not saved."""

    checkpoint_prefixes = ("head.", "norm.")

    def __init__(self, cfg) -> None:
        super().__init__()
        self.frozen = nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False)
        nn.init.constant_(self.frozen.weight, 0.01)
        nn.init.constant_(self.frozen.bias, 0.0)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, len(CLASSES), 1)
        self.pause = float(os.environ.get("STANDIN_SLEEP", 0))
        self.pause_in_evaluation = float(os.environ.get("STANDIN_EVALUATION_SLEEP", 0))
        self.poison_iteration = int(os.environ.get("STANDIN_POISON", -1))
        self.steps = 0

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def losses(self, records, targets, step):
        images = [record["image"].to(self.device).float() / 255 for record in records]
        features = self.norm(self.frozen(torch.stack(images)))
        logits = self.head(nn.functional.dropout(features, 0.5))
        labels = torch.stack([record["sem_seg"].to(self.device) for record in records])
        loss = nn.functional.cross_entropy(logits, labels, ignore_index=255)
        self.steps += 1
        time.sleep(self.pause)
        loss = loss * len(records) / targets.divisors["pictures"]
        return {"loss_ce": loss * (float("nan") if self.steps == self.poison_iteration else 1.0)}

    def prepare(self, metadata, *, only_masks=False, spread=False):
        seen = torch.ones(len(CLASSES), dtype=torch.bool)
        return PreparedVocabulary(name="standin", names=[(name,) for name in CLASSES], things=(), seen=seen)

    def infer(self, records, prepared, *, only_masks=False):
        time.sleep(self.pause_in_evaluation)
        found = []
        for record in records:
            logits = self.head(self.norm(self.frozen(record["image"][None].to(self.device).float() / 255)))
            found.append(DensePrediction(ResampledMasks.of(logits[0])))
        return found


def make_files(folder: Path) -> None:
    """Write random pictures and label maps, once."""
    for split, count in COUNT.items():
        target = folder / split
        if target.exists():
            continue
        building = folder / f".{split}.{os.getpid()}"
        building.mkdir(parents=True)
        rng = np.random.default_rng(len(split))
        for index in range(count):
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(building / f"{index}_image.png")
            Image.fromarray((pixels.argmax(2) % 4).astype(np.uint8)).save(building / f"{index}_labels.png")
        try:
            building.rename(target)
        except OSError:  # another process was first
            continue


def register(folder: Path) -> None:
    """Make the datasets ``standin_train`` and ``standin_val`` and the model known to detectron2."""
    if "StandIn" not in META_ARCH_REGISTRY:
        META_ARCH_REGISTRY.register(StandIn)
    make_files(folder)
    for split, count in COUNT.items():
        name = f"standin_{split}"
        records = [
            {
                "file_name": str(folder / split / f"{index}_image.png"),
                "sem_seg_file_name": str(folder / split / f"{index}_labels.png"),
                "height": SIZE,
                "width": SIZE,
            }
            for index in range(count)
        ]
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        DatasetCatalog.register(name, lambda records=records: records)
        MetadataCatalog.get(name).set(
            stuff_classes=CLASSES,
            stuff_dataset_id_to_contiguous_id={index: index for index in range(4)},
            thing_dataset_id_to_contiguous_id={},
            ignore_label=255,
            evaluator_type="sem_seg",
        )


if "STANDIN_ROOT" in os.environ:
    register(Path(os.environ["STANDIN_ROOT"]))

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
