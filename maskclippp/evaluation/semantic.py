"""Semantic segmentation: IoU, accuracy and Boundary IoU from streaming confusion matrices."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator

from maskclippp.data.annotations import read_label_map
from maskclippp.evaluation.boundary import label_boundary
from maskclippp.evaluation.confusion import Counts, as_array, confusion_matrix, mean, ratio, seen_unseen_means
from maskclippp.evaluation.report import log_class_tables, write_results
from maskclippp.utils.errors import UserError

logger = logging.getLogger(__name__)

_REGION, _BOUNDARY = "region", "boundary"
_MAX_BOUNDARY_CLASSES = 254  # the label map, with one more value for ignored pixels, must fit in 8 bits


def semantic_scores(
    confusion: np.ndarray,
    class_names: Sequence[str],
    seen: np.ndarray | None = None,
    boundary_confusion: np.ndarray | None = None,
) -> dict[str, float]:
    """Turn counts of pixels into scores in percent.

    Pixels whose ground truth is ignored count nowhere. Classes without ground-truth pixels are NaN and enter no mean,
    even if they are predicted.

    Args:
        confusion: (K+1, K+1), rows are predictions, columns true classes; the last row and column are left out.
        class_names: K class entries.
        seen: (K,) bool, classes seen in training.
        boundary_confusion: as ``confusion``, on label boundaries.

    Returns:
        mIoU; mIoU(S), mIoU(U) if there are classes of both kinds; fwIoU; ``IoU-<class>`` (followed by the boundary
        scores of the class); mACC, pACC; ``ACC-<class>``.
    """
    true_positives, gt_pixels, union = _areas(confusion)
    present = gt_pixels > 0
    accuracy = ratio(true_positives, gt_pixels, present)
    iou = ratio(true_positives, union, present)
    total = gt_pixels.sum()
    boundary_iou = None
    if boundary_confusion is not None:
        hits, _, boundary_union = _areas(boundary_confusion)
        boundary_iou = ratio(hits, boundary_union, boundary_union > 0)

    scores = {"mIoU": 100 * mean(iou[present])}
    scores |= seen_unseen_means("mIoU", iou, present, seen)
    scores["fwIoU"] = 100 * float((iou[present] * gt_pixels[present]).sum() / total) if total else float("nan")
    for index, name in enumerate(class_names):
        scores[f"IoU-{name}"] = 100 * float(iou[index])
        if boundary_iou is not None:
            scores[f"BoundaryIoU-{name}"] = 100 * float(boundary_iou[index])
            scores[f"min(IoU, B-Iou)-{name}"] = 100 * min(float(iou[index]), float(boundary_iou[index]))
    scores["mACC"] = 100 * mean(accuracy[present])
    scores["pACC"] = 100 * float(true_positives.sum() / total) if total else float("nan")
    return scores | {f"ACC-{name}": 100 * float(value) for name, value in zip(class_names, accuracy, strict=True)}


def _areas(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, ground-truth pixels and union, (K,) each."""
    true_positives = np.diag(confusion)[:-1]
    gt_pixels = confusion[:-1, :-1].sum(axis=0)
    pred_pixels = confusion[:-1, :-1].sum(axis=1)
    return true_positives, gt_pixels, gt_pixels + pred_pixels - true_positives


class SemSegEvaluator(DatasetEvaluator):
    """Scores label maps at the original image size; keeps counts only, no predictions."""

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        ignore_label: int = 255,
        boundary: bool = True,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries of the test vocabulary.
            ignore_label: value of unlabelled pixels in label maps.
            boundary: also score boundaries; never done for 255 and more classes.
            output_dir: where ``sem_seg_evaluation.{pth,json}`` are written, if given.
        """
        self._class_names = list(class_names)
        self._ignore_label = ignore_label
        self._boundary = boundary and len(self._class_names) <= _MAX_BOUNDARY_CLASSES
        self._output_dir = output_dir
        self.reset()

    @property
    def confusion(self) -> np.ndarray:
        """(K+1, K+1) int64 pixels counted in this process so far; rows are predictions, columns true classes."""
        side = len(self._class_names) + 1
        return self._counts.matrices.get(_REGION, np.zeros((side, side), dtype=np.int64))

    def reset(self) -> None:
        """Forget all images."""
        self._counts = Counts()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Count the pixels of some images.

        Args:
            inputs: records with ``sem_seg_file_name``.
            outputs: dicts with ``sem_seg`` (K, H, W) class scores or ``sem_seg_labels`` (H, W) class ids, and perhaps
                ``category_overlapping_mask`` (K,).

        Raises:
            UserError: no label map, or a prediction of another size or number of classes; names the file.
        """
        num_classes = len(self._class_names)
        for record, output in zip(inputs, outputs, strict=True):
            if "sem_seg_file_name" not in record:
                raise UserError(f"{record['file_name']}: semantic evaluation needs a label map, this record has none")
            path = record["sem_seg_file_name"]
            gt = read_label_map(path, num_classes=num_classes, ignore_label=self._ignore_label)
            pred = self._predicted_labels(output, path)
            self._counts.set_seen(output.get("category_overlapping_mask"))
            self._counts.add(_REGION, confusion_matrix(pred, gt, num_classes, self._ignore_label, where=path))
            if self._boundary:
                gt = np.where(gt == self._ignore_label, num_classes, gt)
                edges = confusion_matrix(label_boundary(pred), label_boundary(gt), num_classes, where=path)
                self._counts.add(_BOUNDARY, edges)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Return ``{"sem_seg": scores}`` (see :func:`semantic_scores`) on the main process, None elsewhere.

        Raises:
            UserError: there was no image.
        """
        counts = self._counts.gather()
        if counts is None:
            return None
        if _REGION not in counts.matrices:
            raise UserError("semantic evaluation: there was no image to evaluate; check the dataset")
        names = self._class_names
        scores = semantic_scores(counts.matrices[_REGION], names, counts.seen, counts.matrices.get(_BOUNDARY))
        columns = {key: np.array([scores[f"{key}-{name}"] for name in names]) for key in ("IoU", "ACC")}
        log_class_tables(logger, names, columns, counts.seen)
        keys = ("mIoU(S)", "mIoU(U)") if "mIoU(S)" in scores else ("mIoU",)
        logger.info("Semantic segmentation: %s", ", ".join(f"{key} {scores[key]:.3f}" for key in keys))
        write_results(self._output_dir, "sem_seg_evaluation", scores)
        return OrderedDict(sem_seg=scores)

    def _predicted_labels(self, output: dict[str, Any], path: str) -> np.ndarray:
        """Return (H, W) class ids."""
        if "sem_seg_labels" in output:
            return as_array(output["sem_seg_labels"])
        scores = output["sem_seg"]
        if len(scores) != len(self._class_names):
            raise UserError(
                f"{path}: the prediction has {len(scores)} classes, the dataset {len(self._class_names)}; "
                "the model was built for another vocabulary (DATASETS.TEST)"
            )
        return as_array(scores.argmax(0))
