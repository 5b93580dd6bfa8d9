"""Panoptic segmentation: the evaluator of panoptic quality."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from maskclippp.data.annotations import places_of_ids, read_panoptic_ids
from maskclippp.data.coverage import log_coverage
from maskclippp.data.panoptic_segments import small_area
from maskclippp.utils.errors import UserError

from .class_metric import of_class
from .confusion import as_array
from .dataset import EvaluatedDataset
from .panoptic_areas import AreaCounts
from .panoptic_matching import ImageMatches, PanopticCounts, match_segments, mean_quality
from .pictures import draw_confusion, draw_gallery
from .registry import register_evaluator
from .report import write_class_csv, write_results
from .saved_segments import save_annotations, save_segments, saved_categories
from .similarity import check_similarity
from .streaming import Scores, State, StreamingEvaluator
from .worst import WorstCases

logger = logging.getLogger(__name__)

_METRICS = ("PQ", "SQ", "RQ")


@register_evaluator(
    "ade20k_panoptic_seg",
    "coco_panoptic_seg",
    "mapillary_vistas_panoptic_seg",
    "cityscapes_panoptic_seg",
    task="panoptic",
)
class PanopticEvaluator(StreamingEvaluator):
    """Scores panoptic segments against the PNG and the ``segments_info`` of each record, without files of its own.

    Memory is constant but for ``save_predictions``, which keeps the list of segments (not the maps).
    """

    def __init__(
        self,
        class_names: Sequence[str],
        thing_ids: Collection[int],
        *,
        dataset_ids: Sequence[int] | None = None,
        similarity: np.ndarray | None = None,
        pictures: int = 0,
        save_predictions: bool = False,
        strict_areas: bool = False,
        output_dir: str | None = None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries of the test vocabulary; segments have contiguous ids 0 to K - 1.
            thing_ids: contiguous ids of the things; all other classes are stuff.
            dataset_ids: id of each class in the files that are written; by default the contiguous ones.
            similarity: (K, K); adds the task ``panoptic_seg_open``, in which near misses count in part.
            pictures: draw the confusion of classes, and so many of the images with the lowest quality.
            save_predictions: write panoptic PNGs and ``predictions.json``, see :func:`save_segments`.
            strict_areas: refuse segments whose "area" is smaller than their pixels; else those are counted.
            output_dir: where ``panoptic_seg_evaluation.{pth,json,csv}`` and all else is written, if given.
        """
        self._class_names = list(class_names)
        self._things = set(thing_ids)
        self._dataset_ids = list(dataset_ids) if dataset_ids is not None else list(range(len(self._class_names)))
        self._similarity = check_similarity(similarity, len(self._class_names))
        self._strict_areas = strict_areas
        self._output_dir = output_dir
        self._pictures = pictures if output_dir else 0
        self._save_predictions = save_predictions and output_dir is not None
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> PanopticEvaluator:
        """Make that of a dataset with panoptic segments."""
        dataset_ids = dataset.class_ids()
        dataset_ids |= {index: number for number, index in dataset.thing_map.items()}
        return cls(
            dataset.class_names,
            dataset.thing_map.values(),
            dataset_ids=[dataset_ids[index] for index in range(len(dataset.class_names))],
            similarity=dataset.similarity,
            pictures=dataset.pictures,
            save_predictions=dataset.save_predictions,
            strict_areas=bool(dataset.metadata.get("described_in", "")),
            output_dir=dataset.output_folder,
        )

    def reset(self) -> None:
        """Forget all images."""
        self._counts = PanopticCounts(len(self._class_names))
        self._pixels = np.zeros(2, dtype=np.int64)  # of no segment, all
        self._areas = AreaCounts()
        self._worst = WorstCases(self._pictures)
        self._predictions: list[dict[str, Any]] = []

    @property
    def qualities(self) -> np.ndarray:
        """PQ, SQ, RQ (0 to 1) and weight of each class so far, (K, 4), see :meth:`PanopticCounts.qualities`."""
        return self._counts.qualities()

    @property
    def confusion(self) -> np.ndarray:
        """(K+1, K+1) int64 segments, see :meth:`PanopticCounts.confusion`."""
        return self._counts.confusion()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Match the segments of some images.

        Args:
            inputs: records with ``pan_seg_file_name`` and ``segments_info`` (contiguous ``category_id``).
            outputs: dicts with ``panoptic_seg``: (H, W) ids, 0 for none, and a list of {"id", "category_id", ...}.

        Raises:
            UserError: no panoptic annotation, another size, or segments and ids that do not belong together.
        """
        for record, output in zip(inputs, outputs, strict=True):
            if "pan_seg_file_name" not in record:
                raise UserError(f"{record['file_name']}: panoptic evaluation needs a panoptic PNG, there is none")
            path = record["pan_seg_file_name"]
            gt_ids, truth = read_panoptic_ids(path), record["segments_info"]
            ids, segments = as_array(output["panoptic_seg"][0]), output["panoptic_seg"][1]
            self._check_classes(segments, path)
            matches = match_segments(gt_ids, truth, ids, segments, where=path)
            self._counts.add(matches)
            self._pixels += (np.count_nonzero(gt_ids == 0), gt_ids.size)
            self._note_areas(matches, truth, path)
            if self._worst:
                maps = (self._class_map(gt_ids, truth), self._class_map(ids, segments))
                self._worst.offer(matches.quality, record["file_name"], *maps)
            if self._save_predictions:
                self._predictions.append(save_segments(self._output_dir, record, ids, segments, self._dataset_ids))

    def state_dict(self) -> State:
        """Counts, worst cases, and the segments to be written."""
        return {
            "counts": self._counts.state_dict(),
            "pixels": self._pixels.tolist(),
            "areas": self._areas.state_dict(),
            "worst": self._worst.state_dict(),
            "predictions": list(self._predictions),
        }

    def add_state(self, state: State) -> None:
        """Add counts, worst cases, segments."""
        self._counts.add_state(state["counts"])
        self._pixels += state["pixels"]
        self._areas.add_state(state["areas"])
        self._worst.add_state(state["worst"])
        self._predictions += state["predictions"]

    def score(self) -> Scores:
        """Return ``{"panoptic_seg": scores}`` and perhaps ``"panoptic_seg_open"``, in percent.

        Scores are PQ, SQ, RQ, then the same of things (``PQ_th``) and stuff (``PQ_st``), then ``PQ-<class>`` etc.; NaN
        for classes without any segment, true or predicted.

        Raises:
            UserError: there was no image.
        """
        if not self._counts.images:
            raise UserError("panoptic evaluation: there was no image to evaluate; check the dataset")
        results: Scores = OrderedDict(panoptic_seg=self._scores(self._counts.qualities(), "Panoptic"))
        if self._similarity is not None:
            qualities = self._counts.qualities(self._similarity)
            results["panoptic_seg_open"] = self._scores(qualities, "Open panoptic")
        segments = self.confusion[:, :-1].sum(axis=0)
        log_coverage(logger, self._class_names, segments, ignored=self._pixels[0], pixels=self._pixels[1])
        columns = {
            ("open " if task.endswith("open") else "") + key: [scores[f"{key}-{name}"] for name in self._class_names]
            for task, scores in results.items()
            for key in _METRICS
        }
        write_class_csv(self._output_dir, "panoptic_seg_evaluation", self._class_names, columns)
        self._areas.report(logger, tell_large=self._strict_areas)
        for task, scores in results.items():
            write_results(self._output_dir, f"{task}_evaluation", scores)
        if self._save_predictions:
            categories = saved_categories(self._class_names, self._dataset_ids, self._things)
            save_annotations(self._output_dir, self._predictions, categories)
        if self._pictures:
            draw_confusion(Path(self._output_dir, "panoptic_seg_confusion.png"), self.confusion, self._class_names)
            draw_gallery(Path(self._output_dir, "panoptic_seg_worst.png"), self._worst, self._class_names, "PQ")
        return results

    def _scores(self, qualities: np.ndarray, title: str) -> dict[str, float]:
        everything = range(len(self._class_names))
        stuff = [index for index in everything if index not in self._things]
        groups = {"All": ("", everything), "Things": ("_th", sorted(self._things)), "Stuff": ("_st", stuff)}
        scores: dict[str, float] = {}
        rows = []
        for label, (suffix, classes) in groups.items():
            *means, count = mean_quality(qualities, classes)
            scores |= {f"{key}{suffix}": 100 * value for key, value in zip(_METRICS, means, strict=True)}
            rows.append([label, *(100 * value for value in means), count])
        table = tabulate(rows, headers=["", *_METRICS, "#categories"], tablefmt="pipe", floatfmt=".3f")
        logger.info("%s Evaluation Results:\n%s", title, table)
        for column, key in enumerate(_METRICS):
            for index, name in enumerate(self._class_names):
                known = qualities[index, 3] > 0
                scores[of_class(key, name)] = 100 * float(qualities[index, column]) if known else float("nan")
        return scores

    def _note_areas(self, matches: ImageMatches, truth: Sequence[dict[str, Any]], path: str) -> None:
        if matches.small and self._strict_areas:
            place = matches.small[0]
            raise small_area(truth[place], matches.pixels[place], path)
        self._areas.add(matches, truth, path)

    def _check_classes(self, segments: Sequence[dict[str, Any]], path: str) -> None:
        for segment in segments:
            if not 0 <= segment["category_id"] < len(self._class_names):
                raise UserError(
                    f"{path}: a predicted segment has class {segment['category_id']}, the dataset has "
                    f"{len(self._class_names)} classes; the model was built for another vocabulary (DATASETS.TEST)"
                )

    def _class_map(self, ids: np.ndarray, segments: Sequence[dict[str, Any]]) -> np.ndarray:
        """(H, W) class of each pixel, K for none."""
        classes = np.array([*(segment["category_id"] for segment in segments), len(self._class_names)])
        return classes[places_of_ids(ids, [segment["id"] for segment in segments])]
