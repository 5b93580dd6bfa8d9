"""From labelled masks to what the evaluators read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..inference import (
    add_void,
    geometric_ensemble,
    instance_inference,
    mask_classes,
    panoptic_inference,
    semantic_scores,
)
from ..structures import MaskSet
from ..structures.image_batch import resize_maps


@dataclass(frozen=True)
class TaskInference:
    """Which results inference returns, and their thresholds.

    Each result is a dict with "category_overlapping_mask" (K,) bool, true for seen classes, and, as switched on:
    "mask_cls" (Q,) and, if there are seen and unseen classes, "mask_cls_unseen" (Q,), the best unseen class; "sem_seg"
    (K, H0, W0); "panoptic_seg"; "instances".
    """

    semantic: bool = True
    panoptic: bool = False
    instance: bool = False
    mask_accuracy: bool = False
    resize_before_inference: bool = False
    object_threshold: float = 0.0
    overlap_threshold: float = 0.8
    top_k: int = 100
    with_boxes: bool = False
    ensemble: bool = False
    alpha: float = 1.0
    beta: float = 1.0

    @classmethod
    def from_config(cls, cfg) -> TaskInference:
        """Read MODEL.MASK_FORMER.TEST, MODEL.MASKCLIPPP.TEST and TEST."""
        tasks, ours = cfg.MODEL.MASK_FORMER.TEST, cfg.MODEL.MASKCLIPPP.TEST
        return cls(
            semantic=tasks.SEMANTIC_ON,
            panoptic=tasks.PANOPTIC_ON,
            instance=tasks.INSTANCE_ON,
            mask_accuracy=ours.MASK_ACC,
            resize_before_inference=tasks.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE,
            object_threshold=tasks.OBJECT_MASK_THRESHOLD,
            overlap_threshold=tasks.OVERLAP_THRESHOLD,
            top_k=cfg.TEST.DETECTIONS_PER_IMAGE,
            with_boxes=tasks.INSTANCE_BOX_ON,
            ensemble=ours.ENSEMBLE_ON,
            alpha=ours.GEOMETRIC_ENSEMBLE_ALPHA,
            beta=ours.GEOMETRIC_ENSEMBLE_BETA,
        )

    def __call__(
        self,
        records: list[dict[str, Any]],
        proposals: MaskSet,
        logits: tuple[Tensor, ...],
        seen: Tensor,
        metadata: Any,
    ) -> list[dict[str, Any]]:
        """Do the tasks for B records.

        Args:
            records: with "height" and "width" of the original picture.
            proposals: masks of the generator; its logits, if any, are over the test classes and void.
            logits: B tensors (Q, K) of ours.
            seen: (K,) bool.
            metadata: of the test vocabulary; ``thing_dataset_id_to_contiguous_id`` tells the things.
        """
        results = []
        for index, (record, masks) in enumerate(zip(records, proposals.masks, strict=True)):
            generator_logits = None if proposals.logits is None else proposals.logits[index]
            class_logits = self._combine(logits[index], generator_logits, seen)
            image_size = tuple(record["image"].shape[-2:])
            output_size = (record.get("height", image_size[0]), record.get("width", image_size[1]))
            results.append(self._one(class_logits, masks, output_size, seen, metadata))
        return results

    def _combine(self, logits: Tensor, generator_logits: Tensor | None, seen: Tensor) -> Tensor:
        if generator_logits is None:
            return logits
        if self.ensemble:
            logits = geometric_ensemble(logits, generator_logits, seen, alpha=self.alpha, beta=self.beta)
        return add_void(logits, generator_logits)

    def _one(
        self, logits: Tensor, masks: Tensor, output_size: tuple[int, int], seen: Tensor, metadata: Any
    ) -> dict[str, Any]:
        num_classes = len(seen)
        result: dict[str, Any] = {"category_overlapping_mask": seen.cpu()}
        if self.mask_accuracy:
            result["mask_cls"] = mask_classes(logits, num_classes)
            if seen.any() and not seen.all():
                result["mask_cls_unseen"] = mask_classes(logits, num_classes, among=~seen)
            return result
        if self.resize_before_inference or self.panoptic or self.instance:
            masks = resize_maps(masks, output_size)
        if self.semantic:
            result["sem_seg"] = resize_maps(semantic_scores(logits, masks, num_classes), output_size)
        things = sorted(getattr(metadata, "thing_dataset_id_to_contiguous_id", {}).values())
        if self.panoptic:
            result["panoptic_seg"] = panoptic_inference(
                logits,
                masks,
                num_classes=num_classes,
                thing_ids=things,
                object_threshold=self.object_threshold,
                overlap_threshold=self.overlap_threshold,
            )
        if self.instance:
            result["instances"] = instance_inference(
                logits,
                masks,
                num_classes=num_classes,
                top_k=self.top_k,
                thing_ids=torch.tensor(things, device=logits.device) if self.panoptic else None,
                with_boxes=self.with_boxes,
            )
        return result
