"""Cityscapes: the official scripts (package ``cityscapesscripts``) on predictions written as files."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import shutil
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from maskclippp.data.coverage import log_coverage
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.layouts import is_visible
from maskclippp.data.names import output_name
from maskclippp.data.vocabularies import split_synonyms
from maskclippp.utils.errors import UserError

from .class_metric import of_class
from .confusion import as_array
from .dataset import EvaluatedDataset
from .label_maps import CoverageCounter, predicted_labels
from .optional import earlier_numpy, require
from .registry import register_evaluator
from .report import write_results
from .saved_label_maps import save_label_map, saved_classes, write_legend
from .streaming import Scores, State, StreamingEvaluator

INSTALL = "pip install 'maskclippp[cityscapes]' or pip install cityscapesscripts"
UNLABELLED = 0
"""Official id of pixels without a class; predicted, it is a miss and no false alarm."""
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
            output_dir: where predictions and results are written; those for the scripts are removed at the end.
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

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> _CityscapesEvaluator:
        """Make that of a split of Cityscapes."""
        if dataset.output_folder is None:
            raise UserError("Cityscapes evaluation writes predictions as files: give an output folder")
        return cls(
            dataset.class_names,
            dataset.metadata.get("gt_dir", None) or dataset.metadata.sem_seg_root,
            output_dir=dataset.output_folder,
            partial=dataset.partial,
            **cls._options(dataset),
        )

    @classmethod
    def _options(cls, dataset: EvaluatedDataset) -> dict[str, Any]:
        """More arguments of a subclass."""
        return {}

    def reset(self) -> None:
        """Forget all images."""
        self._shown: set[str] = set()
        self._coverage = CoverageCounter()

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
            self._write(target, record, output)
            self._shown.add(_image_of(target))

    def state_dict(self) -> State:
        """Which images were shown, and counts of uncovered pixels; predictions are in files."""
        return {"shown": sorted(self._shown), "coverage": self._coverage.state_dict()}

    def add_state(self, state: State) -> None:
        """Add images and counts of others."""
        self._shown |= set(state["shown"])
        self._coverage.add_state(state["coverage"])

    def score(self) -> Scores:
        """Return {task: scores} in percent.

        Raises:
            UserError: no ground truth, none that is a picture, none for an image, or no prediction for one.
        """
        script = require(f"cityscapesscripts.evaluation.{self.script_name}", _PURPOSE, INSTALL)
        truth = sorted(str(path) for path in self._gt_dir.glob(f"*/*{self.truth_suffix}") if is_visible(path))
        if not truth:
            raise UserError(f"{self._gt_dir}: no */*{self.truth_suffix} in it; Cityscapes evaluation needs them")
        if self._partial:
            total, truth = len(truth), [path for path in truth if _image_of(Path(path)) in self._shown]
            if len(truth) < total:
                logger.warning("Cityscapes: %d of %d images were shown; scores are of these", len(truth), total)
        for path in self._gt_dir.glob("*/*_gtFine_*Ids.png"):
            image_size_hw(path)  # the scripts open them with whatever decoder takes them
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
        self._finish()
        by_class = {key.partition("-")[2]: value for key, value in scores.items() if "-" in key}
        log_coverage(logger, list(by_class), [not math.isnan(value) for value in by_class.values()])
        logger.info("Cityscapes, %s: %s", task, ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
        self._coverage.log(logger, "pixels")
        write_results(self._output_dir, f"cityscapes_{task}_evaluation", scores)
        return OrderedDict({task: scores})

    def _finish(self) -> None:
        """Write what belongs to predictions that are kept."""

    @abstractmethod
    def _write(self, target: Path, record: dict[str, Any], output: dict[str, Any]) -> None:
        """Write the prediction of one image; ``target`` is where, without the ends of the files' names."""

    @abstractmethod
    def _run(self, script: ModuleType, truth: list[str]) -> tuple[str, dict[str, float]]:
        """Run the script; return the task and its scores."""


def _image_of(path: Path) -> str:
    """City, sequence and frame, by which the official scripts find predictions."""
    return "_".join(path.name.split("_")[:3])


@register_evaluator("cityscapes_sem_seg", "cityscapes_panoptic_seg", task="semantic")
class CityscapesSemSegEvaluator(_CityscapesEvaluator):
    """IoU and instance-weighted iIoU of classes and categories (``IoU, iIoU, IoU_sup, iIoU_sup``)."""

    folder_name = "cityscapes_sem_seg"
    script_name = "evalPixelLevelSemanticLabeling"
    truth_suffix = "_gtFine_labelIds.png"

    def __init__(
        self,
        class_names: Sequence[str],
        gt_dir: str | Path,
        *,
        output_dir: str | Path,
        partial: bool = False,
        save_predictions: bool = False,
        colors: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names, gt_dir, output_dir, partial: as for all.
            save_predictions: write every label map, with the official label ids, see :func:`save_label_map`.
            colors: of the K classes in these; by default generated ones.

        Raises:
            UserError: the package is missing, or a class has no Cityscapes label.
        """
        super().__init__(class_names, gt_dir, output_dir=output_dir, partial=partial)
        self._saved_classes = saved_classes(class_names, UNLABELLED, colors, self._label_ids)
        self._save_predictions = save_predictions

    @classmethod
    def _options(cls, dataset: EvaluatedDataset) -> dict[str, Any]:
        return {"save_predictions": dataset.save_predictions, "colors": dataset.colors}

    def _write(self, target: Path, record: dict[str, Any], output: dict[str, Any]) -> None:
        labels = predicted_labels(output, len(self._label_ids), where=record["file_name"])
        self._coverage.add(labels, np.ones(labels.shown.shape, dtype=bool), len(self._label_ids))
        ids = np.array([*self._label_ids, UNLABELLED], dtype=np.uint8)
        Image.fromarray(ids[labels.scored]).save(f"{target}_pred.png")
        if self._save_predictions:
            save_label_map(self._output_dir, record, labels.shown, self._saved_classes)

    def _finish(self) -> None:
        if self._save_predictions:
            write_legend(self._output_dir, self._saved_classes)

    def _run(self, script: ModuleType, truth: list[str]) -> tuple[str, dict[str, float]]:
        predictions = [script.getPrediction(script.args, path) for path in truth]
        results = script.evaluateImgLists(predictions, truth, script.args)
        keys = {
            "IoU": "averageScoreClasses",
            "iIoU": "averageScoreInstClasses",
            "IoU_sup": "averageScoreCategories",
            "iIoU_sup": "averageScoreInstCategories",
        }
        classes = {of_class("IoU", name): 100 * float(value) for name, value in results["classScores"].items()}
        return "sem_seg", {key: 100 * float(results[name]) for key, name in keys.items()} | classes


@register_evaluator("cityscapes_instance", "cityscapes_panoptic_seg", task="instance")
class CityscapesInstanceEvaluator(_CityscapesEvaluator):
    """Average precision of instances (``AP, AP50``)."""

    folder_name = "cityscapes_instances"
    script_name = "evalInstanceLevelSemanticLabeling"
    truth_suffix = "_gtFine_instanceIds.png"

    def _write(self, target: Path, record: dict[str, Any], output: dict[str, Any]) -> None:
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
        return "segm", scores | {
            of_class("AP", name): 100 * float(one["ap"]) for name, one in results["classes"].items()
        }
