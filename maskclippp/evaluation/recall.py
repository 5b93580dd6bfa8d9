"""Class-agnostic quality of a mask generator: how many true segments have a mask that fits."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from maskclippp.data.annotations import (
    check_size,
    labelled_classes,
    places_of_ids,
    read_label_map,
    read_panoptic_ids,
)
from maskclippp.data.coverage import log_coverage
from maskclippp.data.datasets import default_ignore_label
from maskclippp.utils.errors import UserError

from .assignment import best_overlaps, intersections, iou_of_shared, matched_in_turn
from .class_metric import of_class
from .confusion import as_array, mean, ratio
from .dataset import EvaluatedDataset
from .report import log_class_tables, write_class_csv, write_results
from .streaming import Scores, State, StreamingEvaluator

logger = logging.getLogger(__name__)

THRESHOLDS = np.arange(50, 100, 5) / 100
LIMITS = (10, 100)
"""Masks of an image that count in AR@10 and AR@100: those with the highest object scores."""
_UNIT = 1 << 40  # of summed IoU; eight million segments of one class fit


class MaskRecallEvaluator(StreamingEvaluator):
    """Recall at IoU 0.50, 0.55, ..., 0.95 and mean best IoU of the true segments, whatever the masks are called.

    Several true segments may share one mask. Pixels without label count in no union.

    Of masks with scores, AR@10 and AR@100 as well: the class-agnostic average recall of COCO's evaluation (useCats=0),
    in which the masks of an image, by falling score, take one segment each, and all pixels of a mask count.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        panoptic: bool = False,
        ignore_label: int | None = None,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries.
            panoptic: the true segments are those of ``segments_info`` without crowds, else the classes of label maps.
            ignore_label: value of unlabelled pixels in label maps; None: 255, or 65535 if that is a class.
            output_dir: where ``mask_recall_evaluation.{pth,json,csv}`` are written, if given.
        """
        self._class_names = list(class_names)
        self._panoptic = panoptic
        self._ignore_label = default_ignore_label(len(class_names)) if ignore_label is None else ignore_label
        self._output_dir = output_dir
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> MaskRecallEvaluator:
        """Make that of a dataset with label maps, or panoptic segments."""
        return cls(
            dataset.class_names,
            panoptic=dataset.is_panoptic,
            ignore_label=dataset.ignore_label,
            output_dir=dataset.output_folder,
        )

    def reset(self) -> None:
        """Forget all images."""
        shape = (len(THRESHOLDS) + 2, len(self._class_names))
        self._counts = np.zeros(shape, dtype=np.int64)  # found at each threshold, summed IoU, segments; by class
        self._images, self._masks, self._ranked = 0, 0, 0
        self._matched = np.zeros((len(LIMITS), len(THRESHOLDS)), dtype=np.int64)

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Count the true segments of some images.

        Args:
            inputs: records with ``sem_seg_file_name``, or ``pan_seg_file_name`` and ``segments_info``.
            outputs: dicts with ``pred_masks``, (Q, H, W) bool, and perhaps ``mask_scores``, (Q,).

        Raises:
            UserError: no annotation, or one of another size.
        """
        for record, output in zip(inputs, outputs, strict=True):
            masks = as_array(output["pred_masks"]).astype(bool)
            regions, classes = self._truth(record, masks.shape[-2:])
            area = np.bincount(regions.ravel(), minlength=len(classes) + 1)[: len(classes)]
            present = area > 0
            shared = intersections(masks, regions, len(classes))
            best, classes = best_overlaps(shared[:, :-1], area)[present], classes[present]
            if "mask_scores" in output:
                order = np.argsort(-as_array(output["mask_scores"]), kind="stable")
                iou = iou_of_shared(shared[:, :-1], area, shared.sum(axis=1))[order][:, present]
                self._matched += matched_in_turn(iou, THRESHOLDS, LIMITS)
                self._ranked += 1
            rows = [*(best >= THRESHOLDS[:, None]), np.rint(best * _UNIT), np.ones(len(best))]
            for row, values in enumerate(rows):
                np.add.at(self._counts[row], classes, values.astype(np.int64))
            self._images += 1
            self._masks += len(masks)

    def state_dict(self) -> State:
        """Counts."""
        return {
            "counts": torch.from_numpy(self._counts.copy()),
            "images": self._images,
            "masks": self._masks,
            "matched": torch.from_numpy(self._matched.copy()),
            "ranked": self._ranked,
        }

    def add_state(self, state: State) -> None:
        """Add counts."""
        self._counts += state["counts"].numpy()
        self._images += state["images"]
        self._masks += state["masks"]
        self._matched += state["matched"].numpy()
        self._ranked += state["ranked"]

    def score(self) -> Scores:
        """Return ``{"mask_recall": scores}`` in percent.

        Scores are AR (mean recall over the thresholds), R50, R75, mBestIoU, all over segments; masks (their mean number
        per image, no percentage); AR@10 and AR@100 if the masks of all images have scores; then ``AR-<class>`` and
        ``BestIoU-<class>``.

        Raises:
            UserError: no image has a true segment.
        """
        segments = self._counts[-1]
        total = segments.sum()
        if not total:
            raise UserError("mask recall: no image has a true segment; check the annotations of the dataset")
        found = self._counts[: len(THRESHOLDS)].sum(axis=1) / total
        scores = {
            "AR": 100 * mean(found),
            "R50": 100 * float(found[0]),
            "R75": 100 * float(found[5]),
            "mBestIoU": 100 * float(self._counts[-2].sum() / total / _UNIT),
            "masks": self._masks / self._images,
        }
        if self._ranked == self._images:
            recall = (self._matched / total).mean(axis=1)
            scores |= {f"AR@{limit}": 100 * float(value) for limit, value in zip(LIMITS, recall, strict=True)}
        else:
            missing = self._images - self._ranked
            logger.info("No AR@10 and AR@100: the masks of %d of %d images have no scores", missing, self._images)
        logger.info("Masks: %s", ", ".join(f"{key} {value:.3f}" for key, value in scores.items()))
        present = segments > 0
        columns = {
            "AR": 100 * ratio(self._counts[: len(THRESHOLDS)].mean(axis=0), segments, present),
            "BestIoU": 100 * ratio(self._counts[-2] / _UNIT, segments, present),
        }
        names = self._class_names
        for key, values in columns.items():
            scores |= {of_class(key, name): float(value) for name, value in zip(names, values, strict=True)}
        log_class_tables(logger, names, columns, None)
        log_coverage(logger, names, segments)
        write_results(self._output_dir, "mask_recall_evaluation", scores)
        write_class_csv(self._output_dir, "mask_recall_evaluation", names, columns | {"segments": segments})
        return OrderedDict(mask_recall=scores)

    def _truth(self, record: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W) region of each pixel, G for none, and the class of each region (G,)."""
        key = "pan_seg_file_name" if self._panoptic else "sem_seg_file_name"
        if key not in record:
            raise UserError(f"{record['file_name']}: mask recall needs true segments, this record has no {key}")
        if self._panoptic:
            ids = read_panoptic_ids(record[key])
            check_size(record[key], ids.shape, size)
            segments = [segment for segment in record["segments_info"] if not segment.get("iscrowd", 0)]
            classes = np.array([segment["category_id"] for segment in segments], dtype=np.int64)
            return places_of_ids(ids, [segment["id"] for segment in segments]), classes
        labels = read_label_map(
            record[key], size_hw=size, num_classes=len(self._class_names), ignore_label=self._ignore_label
        )
        classes = labelled_classes(labels, self._ignore_label)
        return places_of_ids(labels, classes), classes
