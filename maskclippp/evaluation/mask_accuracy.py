"""Mask accuracy: ground-truth masks are given to the classifier, only the class decision is scored."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskclippp.data.annotations import labelled_classes, read_label_map
from maskclippp.data.coverage import log_coverage
from maskclippp.data.datasets import default_ignore_label
from maskclippp.utils.errors import UserError

from .class_metric import of_class
from .confusion import ConfusionCounter, as_array, mean, ratio, seen_unseen_means
from .dataset import EvaluatedDataset
from .pictures import draw_confusion
from .report import log_class_tables, write_class_csv, write_results
from .streaming import Scores, State, StreamingEvaluator, add_seen

logger = logging.getLogger(__name__)


def mask_accuracy_scores(
    confusion: np.ndarray,
    class_names: Sequence[str],
    seen: np.ndarray | None = None,
    among_unseen: np.ndarray | None = None,
) -> dict[str, float]:
    """Turn counts of masks into accuracies in percent.

    Every mask counts once, whatever its area. The accuracy of a class without masks is NaN and enters no mean.

    Args:
        confusion: (K+1, K+1), rows are predictions, columns true classes.
        class_names: K class entries.
        seen: (K,) bool, classes seen in training.
        among_unseen: as ``confusion``, for predictions in which only unseen classes competed.

    Returns:
        mMaskAcc; mMaskAcc(S) and mMaskAcc(U) if there are classes of both kinds; mMaskAcc(U|U), the mean over unseen
        classes in ``among_unseen``, if that is given as well; then ``MaskAcc-<class>`` of all K.
    """
    accuracy, present = _accuracy(confusion)
    scores = {"mMaskAcc": 100 * mean(accuracy[present])}
    scores |= seen_unseen_means("mMaskAcc", accuracy, present, seen)
    if among_unseen is not None and "mMaskAcc(U)" in scores:
        restricted, present = _accuracy(among_unseen)
        scores["mMaskAcc(U|U)"] = 100 * mean(restricted[present & ~seen])
    return scores | {
        of_class("MaskAcc", name): 100 * float(value) for name, value in zip(class_names, accuracy, strict=True)
    }


def _accuracy(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return accuracy (K,) and which classes have masks (K,) bool."""
    correct = np.diag(confusion)[:-1]
    masks = confusion[:-1, :-1].sum(axis=0)
    present = masks > 0
    return ratio(correct, masks, present), present


class MaskAccEvaluator(StreamingEvaluator):
    """Scores the i-th predicted class of an image against the i-th ground-truth mask.

    The order is that of the ground-truth mask generators: ascending label of a label map, or the order of
    ``segments_info`` (crowd segments included).
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        ignore_label: int | None = None,
        panoptic: bool = False,
        pictures: bool = False,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries of the test vocabulary.
            ignore_label: value of unlabelled pixels in label maps; None: 255, or 65535 if that is a class.
            panoptic: the masks are the segments of ``segments_info`` instead of the classes of the label map.
            pictures: draw the confusion of classes.
            output_dir: where ``mask_acc_evaluation.{pth,json,csv}`` are written, if given.
        """
        self._class_names = list(class_names)
        self._ignore_label = default_ignore_label(len(class_names)) if ignore_label is None else ignore_label
        self._panoptic = panoptic
        self._pictures = pictures and output_dir is not None
        self._output_dir = output_dir
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset, *, panoptic: bool = False) -> MaskAccEvaluator:
        """Make that of a dataset.

        Args:
            dataset: with label maps, or panoptic segments.
            panoptic: the masks are panoptic segments instead of the classes of a label map.
        """
        return cls(
            dataset.class_names,
            ignore_label=dataset.ignore_label,
            panoptic=panoptic,
            pictures=dataset.pictures > 0,
            output_dir=dataset.output_folder,
        )

    @property
    def confusion(self) -> np.ndarray:
        """(K+1, K+1) int64 masks counted in this process so far; rows are predictions, columns true classes."""
        return self._all.matrix

    def reset(self) -> None:
        """Forget all images."""
        self._all = ConfusionCounter(len(self._class_names))
        self._among_unseen: ConfusionCounter | None = None
        self._pixels = np.zeros(2, dtype=np.int64)  # ignored, all; of label maps
        self._seen: torch.Tensor | None = None

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Count the masks of some images.

        Args:
            inputs: records with ``sem_seg_file_name``, or ``segments_info`` if panoptic.
            outputs: dicts with ``mask_cls`` (N,), and perhaps ``mask_cls_unseen`` (N,) and
                ``category_overlapping_mask`` (K,). An image without masks is skipped.

        Raises:
            UserError: no ground truth, or another number of masks than predictions; names the file.
        """
        for record, output in zip(inputs, outputs, strict=True):
            gt, where = self._gt_classes(record)
            self._seen = add_seen(self._seen, output.get("category_overlapping_mask"))
            self._count(self._all, output["mask_cls"], gt, where)
            if "mask_cls_unseen" in output:
                self._count(self._counter_among_unseen(), output["mask_cls_unseen"], gt, where)

    def state_dict(self) -> State:
        """Counts, and which classes are seen."""
        return {
            "all": self._all.state_dict(),
            "among unseen": self._among_unseen.state_dict() if self._among_unseen is not None else None,
            "pixels": self._pixels.tolist(),
            "seen": self._seen,
        }

    def add_state(self, state: State) -> None:
        """Add counts."""
        self._all.add_state(state["all"])
        if state["among unseen"] is not None:
            self._counter_among_unseen().add_state(state["among unseen"])
        self._pixels += state["pixels"]
        self._seen = add_seen(self._seen, state["seen"])

    def score(self) -> Scores:
        """Return ``{"mask_acc": scores}``, see :func:`mask_accuracy_scores`.

        Raises:
            UserError: no image had a mask.
        """
        confusion, names = self._all.matrix, self._class_names
        if not confusion.any():
            raise UserError("mask accuracy: no image has a ground-truth mask; check the annotations of the dataset")
        seen = None if self._seen is None else self._seen.numpy()
        among_unseen = None if self._among_unseen is None else self._among_unseen.matrix
        scores = mask_accuracy_scores(confusion, names, seen, among_unseen)
        accuracy = np.array([scores[f"MaskAcc-{name}"] for name in names])
        log_class_tables(logger, names, {"MaskAcc": accuracy}, seen)
        summary = ", ".join(f"{key} {value:.3f}" for key, value in scores.items() if not key.startswith("MaskAcc-"))
        logger.info("Mask accuracy of %d masks: %s", confusion.sum(), summary)
        write_results(self._output_dir, "mask_acc_evaluation", scores)
        masks = confusion[:-1, :-1].sum(axis=0)
        log_coverage(logger, names, masks, ignored=self._pixels[0], pixels=self._pixels[1])
        columns = {"MaskAcc": accuracy, "masks": masks}
        write_class_csv(self._output_dir, "mask_acc_evaluation", names, columns, seen)
        if self._pictures:
            draw_confusion(Path(self._output_dir, "mask_acc_confusion.png"), confusion, names)
        return OrderedDict(mask_acc=scores)

    def _counter_among_unseen(self) -> ConfusionCounter:
        if self._among_unseen is None:
            self._among_unseen = ConfusionCounter(len(self._class_names))
        return self._among_unseen

    def _count(self, counter: ConfusionCounter, pred: Any, gt: np.ndarray, where: str) -> None:
        pred = as_array(pred)
        if len(pred) != len(gt):
            raise UserError(
                f"{where}: {len(gt)} ground-truth masks but {len(pred)} predictions; mask accuracy needs the "
                "ground-truth mask generator of the same kind (MODEL.MASKCLIPPP.SEGMENTOR.NAME)"
            )
        counter.add(pred, gt, where=where)

    def _gt_classes(self, record: dict[str, Any]) -> tuple[np.ndarray, str]:
        """Return the class of each mask (N,), and the file for messages."""
        key, file_key = ("segments_info", "pan_seg_file_name") if self._panoptic else ("sem_seg_file_name",) * 2
        if key not in record:
            kind = "panoptic segments" if self._panoptic else "a label map"
            raise UserError(f"{record['file_name']}: mask accuracy needs {kind}, this record has no {key}")
        where = record.get(file_key, record["file_name"])
        if self._panoptic:
            return np.array([segment["category_id"] for segment in record[key]], dtype=np.int64), where
        labels = read_label_map(where, num_classes=len(self._class_names), ignore_label=self._ignore_label)
        self._pixels += (np.count_nonzero(labels == self._ignore_label), labels.size)
        return labelled_classes(labels, self._ignore_label), where
