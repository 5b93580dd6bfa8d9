"""Predictions on pictures without annotations: they are written, there is nothing to score."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.structures import Instances
from pycocotools import mask as coco_mask

from maskclippp.data.datasets import default_ignore_label
from maskclippp.data.names import own_names
from maskclippp.data.run_length import encode_rle
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .confusion import as_array
from .dataset import EvaluatedDataset
from .label_maps import predicted_labels
from .registry import ALWAYS, register_evaluator
from .saved_label_maps import save_label_map, saved_classes, unlabelled_value, write_legend
from .saved_segments import save_annotations, save_segments, saved_categories
from .streaming import Scores, State, StreamingEvaluator

logger = logging.getLogger(__name__)


@register_evaluator("images", task=ALWAYS)
class PredictionWriter(StreamingEvaluator):
    """Writes what the model returns: label maps, panoptic segments, instances.

    Memory grows with the number of segments and instances (not of pictures): their lists are files of all pictures.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        dataset_ids: Sequence[int],
        *,
        thing_ids: Collection[int] = (),
        ignore_label: int | None = None,
        colors: Sequence[tuple[int, int, int]] | None = None,
        output_dir: str | None,
    ) -> None:
        """Take plain parts.

        Args:
            class_names: K class entries.
            dataset_ids: id of each class in the files that are written; label maps hold positions.
            thing_ids: contiguous ids of the things.
            ignore_label: value of pixels under no mask in label maps; None: 255, or 65535 if that is a class.
            colors: of the K classes in label maps; by default generated ones.
            output_dir: where everything is written.

        Raises:
            UserError: no output folder.
        """
        if output_dir is None:
            raise UserError("pictures without annotations can only be predicted on: give an output folder")
        if ignore_label is None:
            ignore_label = default_ignore_label(len(class_names))
        self._saved_classes = saved_classes(class_names, unlabelled_value(len(class_names), ignore_label), colors)
        self._dataset_ids = list(dataset_ids)
        self._categories = saved_categories(class_names, self._dataset_ids, set(thing_ids))
        self._output_dir = output_dir
        self.reset()

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset) -> PredictionWriter:
        """Make that of a dataset with pictures and class names."""
        ids = dataset.class_ids()
        return cls(
            dataset.class_names,
            [ids[index] for index in range(len(ids))],
            thing_ids=dataset.thing_map.values(),
            ignore_label=dataset.ignore_label,
            colors=dataset.colors,
            output_dir=dataset.output_folder,
        )

    def reset(self) -> None:
        """Forget all pictures; files stay."""
        self._images = 0
        self._tasks: set[str] = set()
        self._segments: list[dict[str, Any]] = []
        self._instances: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Write the predictions of some pictures.

        Args:
            inputs: records.
            outputs: dicts with some of ``sem_seg`` or ``sem_seg_labels``, ``panoptic_seg``, ``instances``.

        Raises:
            UserError: none of them, or scores of another number of classes.
        """
        for record, output in zip(inputs, outputs, strict=True):
            self._images += 1
            tasks = output.keys() & {"sem_seg", "sem_seg_labels", "panoptic_seg", "instances"}
            if not tasks:
                raise UserError(
                    f"{record['file_name']}: there is nothing to write; switch on one of "
                    "MODEL.MASK_FORMER.TEST.{SEMANTIC,PANOPTIC,INSTANCE}_ON"
                )
            if tasks & {"sem_seg", "sem_seg_labels"}:
                labels = predicted_labels(output, len(self._categories), where=record["file_name"])
                save_label_map(self._output_dir, record, labels.shown, self._saved_classes)
            if "panoptic_seg" in tasks:
                ids, segments = as_array(output["panoptic_seg"][0]), output["panoptic_seg"][1]
                annotation = save_segments(self._output_dir, record, ids, segments, self._dataset_ids)
                self._segments.append(annotation)
            if "instances" in tasks:
                self._instances += self._encode(record, output["instances"])
            self._tasks |= tasks

    def state_dict(self) -> State:
        """The number of pictures, and what goes into files of all of them."""
        return {
            "images": self._images,
            "tasks": sorted(self._tasks),
            "segments": list(self._segments),
            "instances": list(self._instances),
        }

    def add_state(self, state: State) -> None:
        """Add those of others."""
        self._images += state["images"]
        self._tasks |= set(state["tasks"])
        self._segments += state["segments"]
        self._instances += state["instances"]

    def score(self) -> Scores:
        """Write what belongs to the files of all pictures; return the number of pictures.

        Raises:
            UserError: there was none.
        """
        if not self._images:
            raise UserError("there was no picture to predict on; check the dataset")
        if self._tasks & {"sem_seg", "sem_seg_labels"}:
            write_legend(self._output_dir, self._saved_classes)
        if "panoptic_seg" in self._tasks:
            save_annotations(self._output_dir, self._segments, self._categories)
        if "instances" in self._tasks:
            ordered = sorted(self._instances, key=lambda result: result["image_id"])
            with atomic_write(Path(self._output_dir, "coco_instances_results.json")) as path:
                path.write_text(json.dumps(ordered), encoding="utf-8")
        logger.info("predictions of %d pictures without annotations are in %s", self._images, self._output_dir)
        return OrderedDict(predictions={"images": float(self._images)})

    def _encode(self, record: dict[str, Any], instances: Instances) -> list[dict[str, Any]]:
        masks = as_array(instances.pred_masks) > 0.5
        runs = encode_rle(np.asarray(masks)) if len(masks) else []
        classes, scores = as_array(instances.pred_classes).tolist(), as_array(instances.scores).tolist()
        return [
            {
                "image_id": own_names(record)[0],
                "category_id": self._dataset_ids[label],
                "score": score,
                "bbox": coco_mask.toBbox(run).tolist(),
                "segmentation": run,
            }
            for label, score, run in zip(classes, scores, runs, strict=True)
        ]
