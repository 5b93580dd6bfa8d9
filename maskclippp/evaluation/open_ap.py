"""Average precision in which a wrong label that is close in meaning counts in part (Open AP).

After Zhou et al. 2023, see :mod:`maskclippp.evaluation.similarity`. For each image and IoU threshold t:

1. Detections of each class are matched with true instances of that class as ever (COCO protocol).
2. Then the detections that are left, by falling score, each take a true instance that is left, of another class, with
   IoU >= t: the one with the largest S[p, g] * IoU, if S[p, g] > 0.

In the ranking of a class, a detection of step 1 is a true positive of weight 1. One of step 2, of class p, is a false
positive of weight 1 - S[p, g] in the ranking of p and a true positive of weight S[p, g] in the ranking of g. All others
are false positives of weight 1. Precision and recall are made of these weights in the usual way.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

_MAX_DETECTIONS = 100


@dataclass
class _Ranking:
    """What one class has at one threshold: scores and weights of its entries, and the number of true instances."""

    scores: list[float]
    hits: list[float]
    alarms: list[float]

    def add(self, score: float, hit: float, alarm: float) -> None:
        self.scores.append(score)
        self.hits.append(hit)
        self.alarms.append(alarm)


@dataclass(frozen=True)
class _Left:
    """Detections and true instances of one image that have no partner of their class: COCO ids and class indices."""

    found: list[tuple[float, int, int]]
    true: list[tuple[int, int]]


def open_average_precision(truth: COCO, found: COCO, categories: Sequence[int], similarity: np.ndarray) -> np.ndarray:
    """Return precision at 101 recalls, (10 IoU thresholds, 101, K), -1 for classes without true instances.

    Args:
        truth: ground truth.
        found: detections with masks.
        categories: K category ids, ascending.
        similarity: S, (K, K) by their order; rows are predicted, columns true classes.
    """
    evaluation = COCOeval(truth, found, "segm")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [_MAX_DETECTIONS]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    parameters = evaluation.params
    images = [
        [evaluation.evalImgs[k * len(parameters.imgIds) + i] for k in range(len(categories))]
        for i in range(len(parameters.imgIds))
    ]
    true_counts = [
        sum(int((~np.array(image[k]["gtIgnore"], dtype=bool)).sum()) for image in images if image[k] is not None)
        for k in range(len(categories))
    ]
    precision = -np.ones((len(parameters.iouThrs), len(parameters.recThrs), len(categories)))
    for t, threshold in enumerate(parameters.iouThrs):
        rankings = [_Ranking([], [], []) for _ in categories]
        later: dict[int, list[tuple[float, float]]] = defaultdict(list)
        for image in images:
            partners = dict(_step_two(truth, found, _leftovers(image, t), float(threshold), similarity))
            for k, one_class in enumerate(image):
                if one_class is not None:
                    _rank(rankings[k], one_class, t, partners, later)
        for k, entries in later.items():
            for score, credit in entries:
                rankings[k].add(score, credit, 0.0)
        for k, ranking in enumerate(rankings):
            if true_counts[k]:
                precision[t, :, k] = _curve(ranking, true_counts[k], parameters.recThrs)
    return precision


def _leftovers(image: list[dict | None], t: int) -> _Left:
    left = _Left([], [])
    for k, one_class in enumerate(image):
        if one_class is None:
            continue
        free = (one_class["dtMatches"][t] == 0) & ~one_class["dtIgnore"][t].astype(bool)
        for index in np.flatnonzero(free):
            left.found.append((one_class["dtScores"][index], one_class["dtIds"][index], k))
        free = (one_class["gtMatches"][t] == 0) & ~np.array(one_class["gtIgnore"], dtype=bool)
        left.true.extend((one_class["gtIds"][index], k) for index in np.flatnonzero(free))
    return left


def _step_two(
    truth: COCO, found: COCO, left: _Left, threshold: float, similarity: np.ndarray
) -> Iterator[tuple[int, tuple[int, float]]]:
    """Yield (detection, (class index of its true instance, similarity))."""
    if not left.found or not left.true:
        return
    detections = sorted(left.found, key=lambda entry: -entry[0])
    masks = [found.annToRLE(found.anns[number]) for _, number, _ in detections]
    true_masks = [truth.annToRLE(truth.anns[number]) for number, _ in left.true]
    iou = coco_mask.iou(masks, true_masks, [0] * len(true_masks))
    credit = similarity[np.ix_([k for *_, k in detections], [k for _, k in left.true])]
    value = np.where(iou >= min(threshold, 1 - 1e-10), credit * iou, 0.0)
    for row, (_, number, _) in enumerate(detections):
        column = int(value[row].argmax())
        if value[row, column] > 0:
            yield number, (left.true[column][1], float(credit[row, column]))
            value[:, column] = 0.0


def _rank(
    ranking: _Ranking,
    one_class: dict,
    t: int,
    partners: dict[int, tuple[int, float]],
    later: dict[int, list[tuple[float, float]]],
) -> None:
    """Put the detections of a class in an image into its ranking, and credits for other classes aside."""
    entries = zip(
        one_class["dtIds"], one_class["dtScores"], one_class["dtMatches"][t], one_class["dtIgnore"][t], strict=True
    )
    for number, score, match, ignored in entries:
        if ignored:
            ranking.add(score, 0.0, 0.0)
        elif match:
            ranking.add(score, 1.0, 0.0)
        else:
            other, credit = partners.get(number, (-1, 0.0))
            ranking.add(score, 0.0, 1.0 - credit)
            if credit:
                later[other].append((score, credit))


def _curve(ranking: _Ranking, true_count: int, recalls: np.ndarray) -> np.ndarray:
    """Return the interpolated precision at each recall."""
    order = np.argsort(-np.array(ranking.scores), kind="mergesort")
    hits, alarms = np.cumsum(np.array(ranking.hits)[order]), np.cumsum(np.array(ranking.alarms)[order])
    precision = hits / (hits + alarms + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / true_count, recalls, side="left")
    # One more place, 0, for recalls that are never reached.
    return np.append(envelope, 0.0)[places]
