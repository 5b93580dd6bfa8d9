"""Test-time augmentation of semantic segmentation: scales and mirror images, their scores averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from fvcore.transforms.transform import HFlipTransform

from maskclippp.inference import TaskInference, output_size
from maskclippp.structures import PreparedVocabulary

from .base import Method, Record


@dataclass(frozen=True)
class AugmentedLabeller:
    """Labels every picture at several sizes and mirrored; the mean of the semantic scores decides.

    If the tasks want label maps, the arg-max of the mean is found tile by tile: no scores of all classes are ever held,
    however many classes and views there are.

    Attributes:
        method: in evaluation mode.
        prepared: the vocabulary.
        tasks: semantic segmentation alone.
        mapper: makes the views of a record, each with the "transforms" that lead to it.
    """

    method: Method
    prepared: PreparedVocabulary
    tasks: TaskInference
    mapper: DatasetMapperTTA

    def __call__(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Return what :meth:`TaskInference.label_map` does, and "category_overlapping_mask", per record."""
        return [self._one(record) for record in records]

    def _one(self, record: Record) -> dict[str, Any]:
        size = output_size(record)
        views = []
        for view in self.mapper(record | {"height": size[0], "width": size[1], "image": record["image"].cpu()}):
            flipped = any(isinstance(step, HFlipTransform) for step in view.pop("transforms").transforms)
            view |= {"image": view["image"].to(self.method.device), "flipped": flipped}
            (prediction,) = self.method.infer([view], self.prepared)
            prediction = prediction.resize(size)
            views.append(prediction.hflip() if flipped else prediction)
        seen = {"category_overlapping_mask": self.prepared.seen.cpu()}
        return seen | self.tasks.label_map(views, len(self.prepared))
