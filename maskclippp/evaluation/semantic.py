"""Semantic segmentation: IoU, accuracy and Boundary IoU from streaming confusion matrices."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskclippp.data.annotations import check_size, read_label_map
from maskclippp.data.coverage import log_coverage
from maskclippp.data.datasets import default_ignore_label
from maskclippp.utils.errors import UserError

from .boundary import label_boundary
from .class_metric import of_class
from .confusion import (
    ConfusionCounter,
    harmonic_mean,
    mean,
    ratio,
    seen_unseen_means,
)
from .dataset import EvaluatedDataset
from .label_maps import CoverageCounter, predicted_labels
from .pictures import draw_confusion, draw_gallery
from .registry import register_evaluator
from .report import log_class_tables, write_class_csv, write_results
from .saved_label_maps import save_label_map, saved_classes, unlabelled_value, write_legend
from .similarity import check_similarity
from .streaming import Scores, State, StreamingEvaluator, add_seen
from .worst import WorstCases

logger = logging.getLogger(__name__)

_MAX_BOUNDARY_CLASSES = 254  # the label map, with one more value for ignored pixels, must fit in 8 bits


def semantic_scores(
    confusion: np.ndarray,
    class_names: Sequence[str],
    seen: np.ndarray | None = None,
    boundary_confusion: np.ndarray | None = None,
    similarity: np.ndarray | None = None,
) -> dict[str, float]:
    """Turn counts of pixels into scores in percent.

    Pixels whose ground truth is ignored count nowhere. Classes without ground-truth pixels are NaN and enter no mean,
    even if they are predicted. A void prediction is a miss of the true class and a false alarm of none.

    Args:
        confusion: C, (K+1, K+1), rows are predictions, the last one void, columns true classes, the last one ignored.
        class_names: K class entries.
        seen: (K,) bool, classes seen in training.
        boundary_confusion: as ``confusion``, on label boundaries.
        similarity: S, (K, K); a pixel of class g called p is a hit of g by S[p, g], a miss of g and a false alarm of
            p by 1 - S[p, g] (:mod:`maskclippp.evaluation.similarity`). So IoU_k = TP_k / (G_k + FP_k) with
            TP_k = sum_p S[p, k] C[p, k], G_k = sum_p C[p, k], FP_k = sum_g (1 - S[k, g]) C[k, g]. None: identity.

    Returns:
        mIoU; mIoU(S), mIoU(U) if there are classes of both kinds; fwIoU; ``IoU-<class>`` (followed by the boundary
        scores of the class); mACC, pACC; ``ACC-<class>``; hIoU, the harmonic mean of mIoU(S) and mIoU(U).
    """
    true_positives, gt_pixels, union = _areas(confusion, similarity)
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
        scores[of_class("IoU", name)] = 100 * float(iou[index])
        if boundary_iou is not None:
            scores[of_class("BoundaryIoU", name)] = 100 * float(boundary_iou[index])
            scores[of_class("min(IoU, B-Iou)", name)] = 100 * min(float(iou[index]), float(boundary_iou[index]))
    scores["mACC"] = 100 * mean(accuracy[present])
    scores["pACC"] = 100 * float(true_positives.sum() / total) if total else float("nan")
    scores |= {of_class("ACC", name): 100 * float(value) for name, value in zip(class_names, accuracy, strict=True)}
    if "mIoU(S)" in scores:
        # Last, so that the published columns of the copypaste lines keep their places.
        scores["hIoU"] = harmonic_mean(scores["mIoU(S)"], scores["mIoU(U)"])
    return scores


def _areas(confusion: np.ndarray, similarity: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true positives, ground-truth pixels and union, (K,) each."""
    counts = confusion[:-1, :-1]
    gt_pixels = confusion[:, :-1].sum(axis=0)
    if similarity is None:
        true_positives = np.diag(counts)
        return true_positives, gt_pixels, gt_pixels + counts.sum(axis=1) - true_positives
    false_positives = ((1 - similarity) * counts).sum(axis=1)
    return (similarity * counts).sum(axis=0), gt_pixels, gt_pixels + false_positives


@register_evaluator(
    "sem_seg", "ade20k_panoptic_seg", "coco_panoptic_seg", "mapillary_vistas_panoptic_seg", task="semantic"
)
class SemSegEvaluator(StreamingEvaluator):
    """Scores label maps at the original image size; keeps counts only, no predictions."""

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        ignore_label: int | None = None,
        boundary: bool = True,
        similarity: np.ndarray | None = None,
        pictures: int = 0,
        save_predictions: bool = False,
        colors: Sequence[tuple[int, int, int]] | None = None,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries of the test vocabulary.
            ignore_label: value of unlabelled pixels in label maps; None: 255, or 65535 if that is a class.
            boundary: also score boundaries; never done for 255 and more classes.
            similarity: (K, K); adds the task ``sem_seg_open``, in which near misses count in part.
            pictures: draw the confusion of classes, and so many of the images with the lowest mIoU.
            save_predictions: write every label map, see :func:`save_label_map`.
            colors: of the K classes in these; by default generated ones.
            output_dir: where ``sem_seg_evaluation.{pth,json,csv}`` and all else is written, if given.
        """
        self._class_names = list(class_names)
        self._ignore_label = default_ignore_label(len(class_names)) if ignore_label is None else ignore_label
        self._boundary = boundary and len(self._class_names) <= _MAX_BOUNDARY_CLASSES
        self._similarity = check_similarity(similarity, len(self._class_names))
        self._output_dir = output_dir
        self._pictures = pictures if output_dir else 0
        self._save_predictions = save_predictions and output_dir is not None
        unlabelled = unlabelled_value(len(self._class_names), self._ignore_label)
        self._saved_classes = saved_classes(self._class_names, unlabelled, colors)
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> SemSegEvaluator:
        """Make that of a dataset with label maps."""
        if dataset.is_panoptic and not dataset.metadata.sem_seg_root:
            raise UserError(
                f"dataset '{dataset.metadata.name}' has no label maps, which semantic evaluation needs: name them in "
                "labels, or switch it off with MODEL.MASK_FORMER.TEST.SEMANTIC_ON False"
            )
        return cls(
            dataset.class_names,
            ignore_label=dataset.ignore_label,
            similarity=dataset.similarity,
            pictures=dataset.pictures,
            save_predictions=dataset.save_predictions,
            colors=dataset.colors,
            output_dir=dataset.output_folder,
        )

    @property
    def confusion(self) -> np.ndarray:
        """(K+1, K+1) int64 pixels counted in this process so far; rows are predictions, columns true classes."""
        return self._region.matrix

    def reset(self) -> None:
        """Forget all images."""
        self._region = ConfusionCounter(len(self._class_names))
        self._edges = ConfusionCounter(len(self._class_names)) if self._boundary else None
        self._worst = WorstCases(self._pictures)
        self._images = 0
        self._coverage = CoverageCounter()
        self._seen: torch.Tensor | None = None

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Count the pixels of some images.

        Args:
            inputs: records with ``sem_seg_file_name``.
            outputs: dicts that :func:`predicted_labels` reads, perhaps with ``category_overlapping_mask`` (K,).

        Raises:
            UserError: no label map, or a prediction of another size or number of classes; names the file.
        """
        num_classes = len(self._class_names)
        for record, output in zip(inputs, outputs, strict=True):
            if "sem_seg_file_name" not in record:
                raise UserError(f"{record['file_name']}: semantic evaluation needs a label map, this record has none")
            path = record["sem_seg_file_name"]
            gt = read_label_map(path, num_classes=num_classes, ignore_label=self._ignore_label)
            labels = predicted_labels(output, num_classes, where=path)
            pred = labels.scored
            check_size(path, gt.shape, pred.shape)
            self._seen = add_seen(self._seen, output.get("category_overlapping_mask"))
            self._region.add(pred, gt, self._ignore_label, where=path)
            self._images += 1
            self._coverage.add(labels, gt != self._ignore_label, num_classes)
            if self._edges is not None or self._worst:
                gt = np.where(gt == self._ignore_label, num_classes, gt)
            if self._edges is not None:
                edges = np.where(pred == num_classes, num_classes, label_boundary(pred))
                self._edges.add(edges, label_boundary(gt), where=path)
            if self._worst:
                self._worst.offer(_image_miou(pred, gt, num_classes), record["file_name"], gt, labels.shown)
            if self._save_predictions:
                save_label_map(self._output_dir, record, labels.shown, self._saved_classes)

    def state_dict(self) -> State:
        """Counts, worst cases, and which classes are seen."""
        return {
            "region": self._region.state_dict(),
            "edges": self._edges.state_dict() if self._edges is not None else None,
            "worst": self._worst.state_dict(),
            "images": self._images,
            "coverage": self._coverage.state_dict(),
            "seen": self._seen,
        }

    def add_state(self, state: State) -> None:
        """Add counts and worst cases."""
        self._region.add_state(state["region"])
        if self._edges is not None:
            self._edges.add_state(state["edges"])
        self._worst.add_state(state["worst"])
        self._images += state["images"]
        self._coverage.add_state(state["coverage"])
        self._seen = add_seen(self._seen, state["seen"])

    def score(self) -> Scores:
        """Return ``{"sem_seg": scores}`` and perhaps ``"sem_seg_open"``, see :func:`semantic_scores`.

        If pixels under no mask are void predictions, "uncovered" is their percentage of the labelled ones.

        Raises:
            UserError: there was no image.
        """
        if not self._images:
            raise UserError("semantic evaluation: there was no image to evaluate; check the dataset")
        names, confusion = self._class_names, self._region.matrix
        seen = None if self._seen is None else self._seen.numpy()
        edges = None if self._edges is None else self._edges.matrix
        results: Scores = OrderedDict(sem_seg=semantic_scores(confusion, names, seen, edges))
        if self._coverage.is_void:
            results["sem_seg"]["uncovered"] = self._coverage.percent
        if self._similarity is not None:
            results["sem_seg_open"] = semantic_scores(confusion, names, seen, similarity=self._similarity)
        self._report(results, confusion, seen)
        log_coverage(logger, names, _areas(confusion)[1], ignored=confusion[:, -1].sum(), pixels=confusion.sum())
        return results

    def _report(self, results: Scores, confusion: np.ndarray, seen: np.ndarray | None) -> None:
        names, columns = self._class_names, {}
        for task, scores in results.items():
            prefix = "" if task == "sem_seg" else "open "
            for key in ("IoU", "BoundaryIoU", "ACC"):
                if f"{key}-{names[0]}" in scores:
                    columns[prefix + key] = np.array([scores[f"{key}-{name}"] for name in names])
            keys = ("mIoU(S)", "mIoU(U)") if "mIoU(S)" in scores else ("mIoU",)
            line = ", ".join(f"{prefix}{key} {scores[key]:.3f}" for key in keys)
            logger.info("Semantic segmentation: %s", line)
            write_results(self._output_dir, f"{task}_evaluation", scores)
        self._coverage.log(logger, "labelled pixels")
        log_class_tables(logger, names, {key: columns[key] for key in ("IoU", "ACC")}, seen)
        columns["pixels"] = confusion[:, :-1].sum(axis=0)
        write_class_csv(self._output_dir, "sem_seg_evaluation", names, columns, seen)
        if self._save_predictions:
            write_legend(self._output_dir, self._saved_classes)
        if self._pictures:
            draw_confusion(Path(self._output_dir, "sem_seg_confusion.png"), confusion, names)
            draw_gallery(Path(self._output_dir, "sem_seg_worst.png"), self._worst, names, "mIoU")


def _image_miou(pred: np.ndarray, gt: np.ndarray, num_classes: int) -> float:
    """mIoU of one image over its true classes; NaN if nothing is labelled."""
    labelled = gt < num_classes
    pred, gt = pred[labelled], gt[labelled]
    hits = np.bincount(gt[pred == gt], minlength=num_classes)
    true = np.bincount(gt, minlength=num_classes)
    called = np.bincount(pred, minlength=num_classes)[:num_classes]
    present = true > 0
    return mean(hits[present] / (true + called - hits)[present])
