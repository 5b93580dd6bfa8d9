"""Test-time augmentation of semantic segmentation: scales and mirror images, their scores averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from fvcore.transforms.transform import HFlipTransform
from torch import Tensor, nn

from .tasks import LabelledMasks, TaskInference, output_size


@runtime_checkable
class MaskLabeller(Protocol):
    """A model that finds masks and labels them, such as :class:`~maskclippp.methods.MaskCLIPpp`."""

    tasks: TaskInference
    seen: Tensor
    device: torch.device

    def label_masks(self, records: list[dict[str, Any]]) -> list[LabelledMasks]:
        """Return class logits and masks of each record."""


class SemanticTTA(nn.Module):
    """Labels every picture at several sizes and mirrored; the mean of the semantic scores decides.

    If the model's tasks want label maps, the arg-max of the mean is found tile by tile: no scores of all classes are
    ever held, however many classes and views there are.

    Args:
        model: in evaluation mode, its vocabulary set.
        mapper: makes the views of a record, each with the "transforms" that lead to it.
    """

    def __init__(self, model: MaskLabeller, mapper: DatasetMapperTTA) -> None:
        super().__init__()
        self.model = model
        self.mapper = mapper

    def forward(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what :meth:`TaskInference.label_map` does, and "category_overlapping_mask", per record."""
        return [self._one(record) for record in records]

    def _one(self, record: dict[str, Any]) -> dict[str, Any]:
        size, num_classes = output_size(record), len(self.model.seen)
        views = []
        for view in self.mapper(record | {"height": size[0], "width": size[1], "image": record["image"].cpu()}):
            flipped = any(isinstance(step, HFlipTransform) for step in view.pop("transforms").transforms)
            view |= {"image": view["image"].to(self.model.device), "flipped": flipped}
            ((logits, masks),) = self.model.label_masks([view])
            masks = self.model.tasks.resize(masks, size)
            views.append((logits, masks.hflip() if flipped else masks))
        return {"category_overlapping_mask": self.model.seen.cpu()} | self.model.tasks.label_map(views, num_classes)
