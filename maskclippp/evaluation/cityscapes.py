"""Cityscapes: the official scripts (package ``cityscapesscripts``) on predictions written as files."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.data.names import output_name
from maskclippp.data.vocabularies import split_synonyms
from maskclippp.evaluation.confusion import as_array
from maskclippp.evaluation.optional import earlier_numpy, require
from maskclippp.evaluation.report import write_results
from maskclippp.evaluation.streaming import Scores, State, StreamingEvaluator
from maskclippp.utils.errors import UserError

INSTALL = "pip install 'maskclippp[cityscapes]' or pip install cityscapesscripts"
_PURPOSE = "Cityscapes evaluation"

logger = logging.getLogger(__name__)


class _CityscapesEvaluator(StreamingEvaluator):
    """Every process writes its predictions below one folder; the main one runs the scripts on all of them.

    All processes must see that folder. Nothing is kept in memory, and what an interrupted run wrote stays.
    """

    folder_name: str
    script_name: str
    truth_suffix: str

    def __init__(
        self, class_names: Sequence[str], gt_dir: str | Path, *, output_dir: str | Path, partial: bool = False
    ) -> None:
        """Take plain parts.

        Args:
            class_names: class entries; the first synonym is the official label name.
            gt_dir: folder of one split, with a folder per city.
            output_dir: where predictions and results are written; the predictions are removed at the end.
            partial: score the images that were shown only; else every image of ``gt_dir`` must have been shown.

        Raises:
            UserError: the package is missing, or a class has no Cityscapes label.
        """
        labels = require("cityscapesscripts.helpers.labels", _PURPOSE, INSTALL)
        self._label_ids = []
        for entry in class_names:
            name = split_synonyms(entry)[0]
            if name not in labels.name2label:
                raise UserError(f"class '{name}' is no Cityscapes label; the first synonym must be the official name")
            self._label_ids.append(labels.name2label[name].id)
        self._gt_dir = Path(gt_dir)
        self._output_dir = Path(output_dir)
        self._folder = self._output_dir / self.folder_name
        self._partial = partial
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._shown: set[str] = set()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Write the predictions of some images, over those that are there.

        Args:
            inputs: records with ``file_name``.
            outputs: what the task needs.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for record, output in zip(inputs, outputs, strict=True):
            target = self._folder / output_name(record)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._write(target, output)
            self._shown.add(_image_of(target))

    def state_dict(self) -> State:
        """Which images were shown; predictions are in files."""
        return {"shown": sorted(self._shown)}

    def add_state(self, state: State) -> None:
        """Add the images of others."""
        self._shown |= set(state["shown"])

    def score(self) -> Scores:
        """Return {task: scores} in percent.

        Raises:
            UserError: no ground truth, or none for an image, or no prediction for one.
        """
        script = require(f"cityscapesscripts.evaluation.{self.script_name}", _PURPOSE, INSTALL)
        truth = sorted(map(str, self._gt_dir.glob(f"*/*{self.truth_suffix}")))
        if not truth:
            raise UserError(f"{self._gt_dir}: no */*{self.truth_suffix} in it; Cityscapes evaluation needs them")
        if self._partial:
            total, truth = len(truth), [path for path in truth if _image_of(Path(path)) in self._shown]
            if len(truth) < total:
                logger.warning("Cityscapes: %d of %d images were shown; scores are of these", len(truth), total)
        printed = io.StringIO()
        try:
            # It would write a file into the working folder.
            script.writeDict2JSON = lambda *_: None
            script.args.predictionPath = str(self._folder.absolute())
            script.args.predictionWalk = None
            script.args.JSONOutput = script.args.colorized = False
            script.args.quiet = True
            with contextlib.redirect_stdout(printed), earlier_numpy(script):
                task, scores = self._run(script, truth)
        except SystemExit:
            raise UserError(f"Cityscapes evaluation: {' '.join(printed.getvalue().split())}") from None
        shutil.rmtree(self._folder)
        logger.info("Cityscapes, %s: %s", task, ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
        write_results(self._output_dir, f"cityscapes_{task}_evaluation", scores)
        return OrderedDict({task: scores})

    @abstractmethod
    def _write(self, target: Path, output: dict[str, Any]) -> None:
        """Write the prediction of one image; ``target`` is where, without the ends of the files' names."""

    @abstractmethod
    def _run(self, script: ModuleType, truth: list[str]) -> tuple[str, dict[str, float]]:
        """Run the script; return the task and its scores."""


def _image_of(path: Path) -> str:
    """City, sequence and frame, by which the official scripts find predictions."""
    return "_".join(path.name.split("_")[:3])


class CityscapesSemSegEvaluator(_CityscapesEvaluator):
    """IoU and instance-weighted iIoU of classes and categories (``IoU, iIoU, IoU_sup, iIoU_sup``)."""

    folder_name = "cityscapes_sem_seg"
    script_name = "evalPixelLevelSemanticLabeling"
    truth_suffix = "_gtFine_labelIds.png"

    def _write(self, target: Path, output: dict[str, Any]) -> None:
        labels = output.get("sem_seg_labels")
        labels = as_array(output["sem_seg"].argmax(0) if labels is None else labels)
        Image.fromarray(np.array(self._label_ids, dtype=np.uint8)[labels]).save(f"{target}_pred.png")

    def _run(self, script: ModuleType, truth: list[str]) -> tuple[str, dict[str, float]]:
        predictions = [script.getPrediction(script.args, path) for path in truth]
        results = script.evaluateImgLists(predictions, truth, script.args)
        keys = {
            "IoU": "averageScoreClasses",
            "iIoU": "averageScoreInstClasses",
            "IoU_sup": "averageScoreCategories",
            "iIoU_sup": "averageScoreInstCategories",
        }
        classes = {f"IoU-{name}": 100 * float(value) for name, value in results["classScores"].items()}
        return "sem_seg", {key: 100 * float(results[name]) for key, name in keys.items()} | classes


class CityscapesInstanceEvaluator(_CityscapesEvaluator):
    """Average precision of instances (``AP, AP50``)."""

    folder_name = "cityscapes_instances"
    script_name = "evalInstanceLevelSemanticLabeling"
    truth_suffix = "_gtFine_instanceIds.png"

    def _write(self, target: Path, output: dict[str, Any]) -> None:
        instances, lines = output["instances"], []
        masks, classes = as_array(instances.pred_masks) > 0.5, as_array(instances.pred_classes).tolist()
        scores = as_array(instances.scores).tolist()
        for index, (mask, label, score) in enumerate(zip(masks, classes, scores, strict=True)):
            name = f"{target.name}_{index}.png"
            Image.fromarray(mask.astype(np.uint8) * 255).save(target.with_name(name))
            lines.append(f"{name} {self._label_ids[label]} {score}\n")
        target.with_name(f"{target.name}_pred.txt").write_text("".join(lines), encoding="utf-8")

    def _run(self, script: ModuleType, truth: list[str]) -> tuple[str, dict[str, float]]:
        script.args.gtInstancesFile = str(self._folder / "gtInstances.json")
        predictions = [script.getPrediction(path, script.args) for path in truth]
        results = script.evaluateImgLists(predictions, truth, script.args)["averages"]
        scores = {"AP": 100 * float(results["allAp"]), "AP50": 100 * float(results["allAp50%"])}
        return "segm", scores | {f"AP-{name}": 100 * float(one["ap"]) for name, one in results["classes"].items()}
