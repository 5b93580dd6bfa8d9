"""Instance segmentation: average precision by the COCO protocol, through pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

from maskclippp.data.annotations import check_size
from maskclippp.data.instance_json import InstanceFile, read_instances
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .class_metric import of_class, overall
from .confusion import as_array
from .dataset import EvaluatedDataset
from .instance_images import InstanceImages, without_others
from .instance_results import for_task, number_images, with_mask_box
from .instance_truth import doubtful_masks
from .open_ap import open_average_precision
from .registry import register_evaluator
from .report import log_class_tables, write_class_csv, write_results
from .similarity import check_similarity
from .streaming import Scores, State, StreamingEvaluator

logger = logging.getLogger(__name__)

COCO_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@register_evaluator(
    "ade20k_panoptic_seg", "coco_panoptic_seg", "mapillary_vistas_panoptic_seg", "coco", task="instance"
)
class InstanceEvaluator(StreamingEvaluator):
    """Average precision of instances, for class ids that may be scattered over a larger vocabulary.

    Average precision ranks all instances of a dataset, so these are kept, as run-lengths (about a third of a kilobyte
    each); memory grows with their number. The masks themselves are never kept.

    The task ``bbox`` is scored only if some predicted box is not zero: boxes are not computed unless
    MODEL.MASK_FORMER.TEST.INSTANCE_BOX_ON.
    """

    def __init__(
        self,
        json_file: str | Path,
        class_ids: Mapping[int, int],
        class_names: Sequence[str],
        *,
        similarity: np.ndarray | None = None,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            json_file: ground truth in COCO's format.
            class_ids: {category id of the file: class id of the model}, for all categories of the file.
            class_names: class entry of each category, in ascending order of its class id of the model.
            similarity: of these classes in this order; adds the task ``segm_open``, in which near misses count in part.
            output_dir: where ``instance_evaluation.csv`` and ``coco_instances_results.json`` are written, if given.

        Raises:
            UserError: the file is missing or wrong (see :func:`read_instances`), or its categories are others.
        """
        order = sorted(class_ids, key=class_ids.__getitem__)
        self._category_of = {class_ids[category]: category for category in order}
        self._names = dict(zip(order, class_names, strict=True))
        self._similarity = check_similarity(similarity, len(order))
        self._output_dir = output_dir
        self._json_file = json_file
        if not Path(json_file).is_file():
            raise UserError(f"no instance file {json_file}; instance evaluation needs it")
        found = read_instances(json_file)
        self._left_out = found.left_out
        self._check_categories({category["id"] for category in found.categories}, set(class_ids))
        self._images = InstanceImages(found.images, str(json_file))
        self._sizes = {image["id"]: (image["height"], image["width"]) for image in found.images}
        self._numbers = number_images(found)
        self._truth = self._all_truth = self._make_truth(found)
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> InstanceEvaluator:
        """Make that of a dataset with an instance file; of the similarity of its classes that of the things counts."""
        similarity = dataset.similarity
        if similarity is not None:
            things = sorted(dataset.thing_map.values())
            similarity = similarity[np.ix_(things, things)]
        return cls(**dataset.instances(), similarity=similarity)

    def reset(self) -> None:
        """Forget all images."""
        self._results: list[list[Any]] = []
        self._shown: set[int | str] = set()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Keep the instances of some images.

        Args:
            inputs: records with ``image_id``, or at least ``file_name``.
            outputs: dicts with ``instances``: pred_masks (N, H, W), scores (N,), pred_classes (N,), perhaps pred_boxes.

        Raises:
            UserError: an image that the ground truth does not have, or a class that is none of its categories.
        """
        for record, output in zip(inputs, outputs, strict=True):
            self._results += self._encode(output["instances"], record)

    def state_dict(self) -> State:
        """All instances: [image, category, score, size, run-lengths, box]; and all images."""
        return {"results": list(self._results), "shown": list(self._shown)}

    def add_state(self, state: State) -> None:
        """Add instances."""
        self._results += state["results"]
        self._shown |= set(state["shown"])

    def score(self) -> Scores:
        """Return ``{"segm": scores}``, with ``"bbox"`` before it if there are boxes, and perhaps ``"segm_open"``.

        Scores are percent: AP, AP50, AP75, APs, APm, APl, then ``AP-<class>``; NaN where undefined, and all of them if
        nothing was predicted.
        """
        results = self._coco_results()
        tasks = ["bbox", "segm"] if any(any(result["bbox"]) for result in results) else ["segm"]
        shown = {self._numbers[image_id] for image_id in self._shown}
        self._truth = without_others(self._all_truth, shown, str(self._json_file))
        if self._output_dir:
            with atomic_write(Path(self._output_dir, "coco_instances_results.json")) as path:
                written = results if "bbox" in tasks else [with_mask_box(result) for result in results]
                path.write_text(json.dumps(written), encoding="utf-8")
        scores: Scores = OrderedDict((task, self._task_scores(results, task)) for task in tasks)
        if self._similarity is not None:
            scores["segm_open"] = self._open_scores(results)
        self._report(scores)
        return scores

    def _task_scores(self, results: list[dict[str, Any]], task: str) -> dict[str, float]:
        if not results:
            return self._nothing(COCO_METRICS)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self._truth, self._truth.loadRes(for_task(results, task, self._numbers)), task)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        scores = {name: self._percent(value) for name, value in zip(COCO_METRICS, evaluation.stats, strict=False)}
        precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, category), all areas, most detections
        return scores | self._class_scores(evaluation.params.catIds, precision)

    def _open_scores(self, results: list[dict[str, Any]]) -> dict[str, float]:
        if not results:
            return self._nothing(("AP", "AP50", "AP75"))
        categories = sorted(self._names)
        places = [list(self._names).index(category) for category in categories]
        similarity = self._similarity[np.ix_(places, places)]
        with contextlib.redirect_stdout(io.StringIO()):
            found = self._truth.loadRes(for_task(results, "segm", self._numbers))
        precision = open_average_precision(self._truth, found, categories, similarity)
        parts = {"AP": precision, "AP50": precision[0], "AP75": precision[5]}
        scores = {name: self._percent(_mean(part)) for name, part in parts.items()}
        return scores | self._class_scores(categories, precision)

    def _class_scores(self, categories: Sequence[int], precision: np.ndarray) -> dict[str, float]:
        """``AP-<class>`` from (IoU thresholds, recalls, categories), -1 where undefined."""
        return {
            of_class("AP", self._names[category]): self._percent(_mean(precision[..., index]))
            for index, category in enumerate(categories)
        }

    def _nothing(self, metrics: Sequence[str]) -> dict[str, float]:
        logger.warning("instance evaluation: nothing was predicted")
        return dict.fromkeys((*metrics, *(of_class("AP", name) for name in self._names.values())), float("nan"))

    def _report(self, scores: Scores) -> None:
        self._say_what_is_not_covered()
        names = list(self._names.values())
        columns = {}
        for task, values in scores.items():
            means = overall(values)
            row = tabulate([means.values()], headers=list(means), tablefmt="pipe", floatfmt=".3f")
            logger.info("Evaluation results for %s:\n%s", task, row)
            write_results(self._output_dir, f"{task}_evaluation", values)
            if f"AP-{names[0]}" in values:
                columns[f"{task} AP"] = np.array([values[f"AP-{name}"] for name in names])
        if columns:
            log_class_tables(logger, names, columns, None)
            write_class_csv(self._output_dir, "instance_evaluation", names, columns)

    def _say_what_is_not_covered(self) -> None:
        if self._left_out:
            logger.warning("instance evaluation: %s: %s", self._json_file, self._left_out)
        if not self._truth.dataset["annotations"]:
            logger.warning("instance evaluation: %s has no annotations; no score is defined", self._json_file)
        for line in doubtful_masks(self._truth.dataset, str(self._json_file)):
            logger.warning("instance evaluation: %s", line)

    def _encode(self, instances: Instances, record: dict[str, Any]) -> list[list[Any]]:
        image_id = self._images.find(record)
        check_size(f"{self._json_file}, image {image_id}", self._sizes[image_id], instances.image_size)
        self._shown.add(image_id)
        if not len(instances):
            return []
        masks = as_array(instances.pred_masks) > 0.5
        runs = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        boxes = np.zeros((len(masks), 4))
        if instances.has("pred_boxes"):
            boxes = as_array(instances.pred_boxes.tensor).astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]  # x, y, width, height
        classes, scores = as_array(instances.pred_classes).tolist(), as_array(instances.scores).tolist()
        unknown = set(classes) - self._category_of.keys()
        if unknown:
            raise UserError(
                f"{record['file_name']}: predicted class {min(unknown)} is no thing of {self._json_file}; with "
                "PANOPTIC_ON the model keeps things only, else the vocabulary (DATASETS.TEST) must hold nothing else"
            )
        return [
            [image_id, self._category_of[label], score, list(masks.shape[1:]), run["counts"], box]
            for label, score, run, box in zip(classes, scores, runs, boxes.tolist(), strict=True)
        ]

    def _coco_results(self) -> list[dict[str, Any]]:
        """What was kept, in COCO's format; in an order that does not depend on how the images were shared."""
        kept = sorted(self._results, key=lambda result: str(result[0]))
        return [
            {
                "image_id": image_id,
                "category_id": category,
                "score": score,
                "bbox": box,
                "segmentation": {"size": size, "counts": counts.decode("ascii")},
            }
            for image_id, category, score, size, counts, box in kept
        ]

    def _make_truth(self, found: InstanceFile) -> Any:
        """Return the ground truth, images numbered, as the protocol's package wants it."""
        truth = COCO()
        truth.dataset = {"images": found.images, "annotations": found.annotations, "categories": found.categories}
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
        return truth

    def _check_categories(self, found: set[int], expected: set[int]) -> None:
        if found != expected:
            odd = ", ".join(map(str, sorted(found ^ expected)[:5]))
            raise UserError(
                f"{self._json_file}: has {len(found)} categories, the vocabulary {len(expected)} things; "
                f"they differ in ids {odd}"
            )

    @staticmethod
    def _percent(value: float) -> float:
        """Negative is undefined."""
        return 100 * float(value) if value >= 0 else float("nan")


def _mean(precision: np.ndarray) -> float:
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0
