"""Panoptic quality: which predicted segment is which true one, and the scores that follow (Kirillov et al. 2019).

The rules are those of the COCO panoptic API:

* A true segment g (not a crowd) and a predicted one p match if they have the same class and
  ``IoU = inter / (area_p + area_g - inter - void_p) > 0.5``, where void_p is the part of p on unlabelled pixels (id 0)
  and area_g is what the annotation says, but never less than the pixels of g. No segment can have two matches.
* A true segment without a match is a false negative, unless it is a crowd.
* A prediction without a match is a false positive, unless more than half of it lies on void and on the crowd segment
  of its own class (the last one, if there are several).

Pairs with IoU > 0.5 but different classes are kept as well. To the usual quality they are a false positive and a false
negative; with similarities (:mod:`maskclippp.evaluation.similarity`) they count in part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskclippp.data.annotations import check_size, places_of_ids
from maskclippp.data.panoptic_segments import segment_areas
from maskclippp.utils.errors import UserError

from .streaming import UNIT, State, to_units


@dataclass(frozen=True)
class ImageMatches:
    """What one image adds.

    Attributes:
        pairs: (predicted class, true class, IoU, whether the prediction is a false positive if the pair is none) of
            segments with IoU > 0.5; those with equal classes are the matches.
        missed: classes of true segments without a partner.
        false_alarms: classes of predictions without a partner, except those on void and crowd.
        pixels: of each true segment.
        small, large: places of true segments whose annotated area contradicts that, see :func:`segment_areas`.
        unlisted: pixels of the ground truth that are neither void nor of a true segment.
    """

    pairs: list[tuple[int, int, float, bool]]
    missed: list[int]
    false_alarms: list[int]
    pixels: list[int] = field(default_factory=list)
    small: list[int] = field(default_factory=list)
    large: list[int] = field(default_factory=list)
    unlisted: int = 0

    @property
    def quality(self) -> float:
        """Panoptic quality of all segments of this image, whatever their class; NaN if there are none."""
        hits = [iou for pred, true, iou, _ in self.pairs if pred == true]
        wrong = [counts for pred, true, _, counts in self.pairs if pred != true]
        weight = len(hits) + (len(self.false_alarms) + len(self.missed) + sum(wrong) + len(wrong)) / 2
        return sum(hits) / weight if weight else float("nan")


def match_segments(
    gt_ids: np.ndarray,
    gt_segments: Sequence[dict[str, Any]],
    pred_ids: np.ndarray,
    pred_segments: Sequence[dict[str, Any]],
    *,
    where: str = "input",
) -> ImageMatches:
    """Match the segments of one image.

    Args:
        gt_ids: (H, W) whole numbers, 0 is void. Ids that are not in ``gt_segments`` are neither void nor a segment.
        gt_segments: with "id", "category_id", perhaps "iscrowd", and "area" (else pixels are counted).
        pred_ids: (H, W), 0 is no segment; every other id is in ``pred_segments``, and the reverse.
        pred_segments: with "id" and "category_id" of the same numbering.
        where: file, for messages.

    Raises:
        UserError: sizes differ, or ids and segments of the prediction do not belong together.
    """
    check_size(where, gt_ids.shape, pred_ids.shape)
    true_ids = [segment["id"] for segment in gt_segments]
    found_ids = [segment["id"] for segment in pred_segments]
    rows, columns = _places(gt_ids, true_ids, where), _places(pred_ids, found_ids, where)
    width = len(found_ids) + 2
    pixels = np.bincount(rows * width + columns, minlength=(len(true_ids) + 2) * width).reshape(-1, width)
    _check_prediction(pixels, pred_ids, found_ids, where)
    pixels = pixels[:, 1:-1]  # (void, true segments, others) x predicted segments

    void, overlap, pred_area = pixels[0], pixels[1:-1], pixels.sum(axis=0)
    of_truth = np.bincount(rows, minlength=len(true_ids) + 2)
    own_pixels = of_truth[1:-1]
    gt_area, small, large = segment_areas(gt_segments, own_pixels)
    gt_class = np.array([segment["category_id"] for segment in gt_segments], dtype=np.int64)
    pred_class = np.array([segment["category_id"] for segment in pred_segments], dtype=np.int64)
    crowd = np.array([bool(segment.get("iscrowd", 0)) for segment in gt_segments], dtype=bool)

    union = pred_area + gt_area[:, None] - overlap - void
    iou = overlap / np.maximum(union, 1)
    candidates = (iou > 0.5) & ~crowd[:, None]
    same = candidates & (gt_class[:, None] == pred_class)
    others = candidates & ~same

    forgiven = void.copy()
    crowd_of_class = {gt_class[index]: index for index in np.flatnonzero(crowd)}
    for index, category in enumerate(pred_class):
        if category in crowd_of_class:
            forgiven[index] += overlap[crowd_of_class[category], index]
    counts_as_wrong = 2 * forgiven <= pred_area
    partnered = same | others
    return ImageMatches(
        pairs=[
            (int(pred_class[p]), int(gt_class[g]), float(iou[g, p]), bool(counts_as_wrong[p]))
            for g, p in np.argwhere(partnered)
        ],
        missed=gt_class[~partnered.any(axis=1) & ~crowd].tolist(),
        false_alarms=pred_class[~partnered.any(axis=0) & counts_as_wrong].tolist(),
        pixels=own_pixels.tolist(),
        small=small,
        large=large,
        unlisted=int(of_truth[-1]),
    )


def _places(ids: np.ndarray, known: Sequence[int], where: str) -> np.ndarray:
    """Return for each pixel 0 (id 0), 1 + the index of its id in ``known``, or len(known) + 1 (another id)."""
    if ids.size and ids.min() < 0:
        raise UserError(f"{where}: segment id {ids.min()} is negative")
    return places_of_ids(ids.ravel(), [0, *known])


def _check_prediction(pixels: np.ndarray, pred_ids: np.ndarray, found_ids: Sequence[int], where: str) -> None:
    per_segment = pixels.sum(axis=0)
    if per_segment[-1]:
        unknown = sorted(set(np.unique(pred_ids).tolist()) - {0, *found_ids})
        raise UserError(f"{where}: the prediction has pixels of segment {unknown[0]}, which is not among its segments")
    empty = [found for found, count in zip(found_ids, per_segment[1:-1], strict=True) if not count]
    if empty:
        raise UserError(f"{where}: segment {empty[0]} of the prediction has no pixels")


class PanopticCounts:
    """Matches added up over images, exactly: by class, and pairs by both classes.

    Attributes:
        num_classes: K.
        images: how many were added.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.images = 0
        self._pairs: dict[tuple[int, int], list[int]] = {}
        self._missed = np.zeros(num_classes, dtype=np.int64)
        self._false_alarms = np.zeros(num_classes, dtype=np.int64)

    def add(self, matches: ImageMatches) -> None:
        """Add an image."""
        self.images += 1
        for pred, true, iou, wrong in matches.pairs:
            self._add_pair(pred, true, 1, int(wrong), to_units(iou))
        np.add.at(self._missed, matches.missed, 1)
        np.add.at(self._false_alarms, matches.false_alarms, 1)

    def state_dict(self) -> State:
        """Everything, as plain lists."""
        return {
            "images": self.images,
            "pairs": [[*classes, *values] for classes, values in self._pairs.items()],
            "missed": self._missed.tolist(),
            "false_alarms": self._false_alarms.tolist(),
        }

    def add_state(self, state: State) -> None:
        """Add the counts of others."""
        self.images += state["images"]
        for pair in state["pairs"]:
            self._add_pair(*pair)
        self._missed += state["missed"]
        self._false_alarms += state["false_alarms"]

    def confusion(self) -> np.ndarray:
        """(K+1, K+1) segments; rows are predictions, columns true classes, the last ones segments without partner."""
        matrix = np.zeros((self.num_classes + 1, self.num_classes + 1), dtype=np.int64)
        for (pred, true), (count, *_) in self._pairs.items():
            matrix[pred, true] = count
        matrix[-1, :-1], matrix[:-1, -1] = self._missed, self._false_alarms
        return matrix

    def qualities(self, similarity: np.ndarray | None = None) -> np.ndarray:
        """Return PQ, SQ, RQ of each class, and TP + FP + FN, (K, 4); all 0 for a class without segments.

        A pair of true class g and predicted class p adds S[p, g] to TP of g, S[p, g] times its IoU to the IoU sum of
        g, 1 - S[p, g] to FN of g and to FP of p (there only if the prediction is not forgiven as void or crowd). Then
        PQ = IoU sum / (TP + FP / 2 + FN / 2), SQ = IoU sum / TP, RQ = TP / (TP + FP / 2 + FN / 2).

        Args:
            similarity: S, (K, K); None: identity.
        """
        true_positives, iou_sum = np.zeros(self.num_classes), np.zeros(self.num_classes)
        false_positives, false_negatives = self._false_alarms.astype(np.float64), self._missed.astype(np.float64)
        for (pred, true), (count, wrong, units) in sorted(self._pairs.items()):
            credit = float(pred == true) if similarity is None else similarity[pred, true]
            true_positives[true] += credit * count
            iou_sum[true] += credit * (units / UNIT)
            false_negatives[true] += (1 - credit) * count
            false_positives[pred] += (1 - credit) * wrong
        weight = true_positives + false_positives / 2 + false_negatives / 2
        safe = np.maximum(weight, np.finfo(np.float64).tiny)
        segment_quality = np.divide(iou_sum, true_positives, out=np.zeros_like(iou_sum), where=true_positives > 0)
        total = true_positives + false_positives + false_negatives
        return np.stack([iou_sum / safe, segment_quality, true_positives / safe, total], axis=1)

    def _add_pair(self, pred: int, true: int, count: int, wrong: int, units: int) -> None:
        values = self._pairs.setdefault((pred, true), [0, 0, 0])
        for place, value in enumerate((count, wrong, units)):
            values[place] += value


def mean_quality(qualities: np.ndarray, classes: Iterable[int]) -> tuple[float, float, float, int]:
    """Return mean PQ, SQ, RQ over those of the classes that have any segment, and their number; 0 if there is none."""
    chosen = qualities[list(classes)]
    chosen = chosen[chosen[:, 3] > 0, :3]
    means = chosen.mean(axis=0) if len(chosen) else np.zeros(3)
    return float(means[0]), float(means[1]), float(means[2]), len(chosen)
