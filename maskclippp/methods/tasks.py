"""From labelled masks to what the evaluators read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..inference import (
    binary_masks,
    class_probabilities,
    instance_inference,
    mask_classes,
    oneformer_instances,
    panoptic_inference,
    semantic_labels,
    semantic_scores,
    transformers_instances,
    transformers_panoptic,
    uncovered_pixels,
)
from ..structures import MaskRules, ResampledMasks
from ..utils.errors import UserError

LabelledMasks = tuple[Tensor, ResampledMasks]
"""Of one image: class logits (Q, K), or with a last void column (Q, K + 1), and masks covering the unpadded image."""

UNCOVERED = ("auto", "void", "argmax")
_INSTANCES = {
    "published": instance_inference,
    "transformers": transformers_instances,
    "transformers_oneformer": oneformer_instances,
}


@dataclass(frozen=True)
class TaskInference:
    """Which results inference returns, and their thresholds.

    Each result is a dict with "category_overlapping_mask" (K,) bool, true for seen classes, and, as switched on:
    "mask_cls" (Q,) and, if there are seen and unseen classes, "mask_cls_unseen" (Q,), the best unseen class; "sem_seg"
    (K, H0, W0); "panoptic_seg"; "instances". H0, W0 is the size of the original picture. With "sem_seg" come
    "sem_seg_uncovered" (H0, W0) bool, the pixels under no mask, and "uncovered_is_void", whether these are predicted as
    no class.

    Attributes:
        semantic, panoptic, instance: the tasks.
        mask_accuracy: only the class of each mask.
        segmentor_only: only the generated masks: "pred_masks" (Q, H0, W0) bool.
        label_maps: instead of "sem_seg" return its arg-max "sem_seg_labels" (H0, W0), for which the scores of all
            classes are never held at once; K where the prediction is void.
        object_threshold, overlap_threshold: see :func:`~maskclippp.inference.panoptic_inference`.
        top_k, with_boxes: see :func:`~maskclippp.inference.instance_inference`.
        rules: of the masks.
    """

    semantic: bool = True
    panoptic: bool = False
    instance: bool = False
    mask_accuracy: bool = False
    segmentor_only: bool = False
    label_maps: bool = False
    object_threshold: float = 0.0
    overlap_threshold: float = 0.8
    top_k: int = 100
    with_boxes: bool = False
    rules: MaskRules = MaskRules()

    @classmethod
    def from_config(cls, cfg, rules: MaskRules | None = None) -> TaskInference:
        """Read MODEL.MASK_FORMER.TEST, MODEL.MASKCLIPPP.TEST and TEST.

        SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE is not read: mixing masks and resizing them commute.

        Args:
            cfg: the whole config.
            rules: of the generator; MODEL.MASKCLIPPP.TEST.UNCOVERED, unless "auto", says otherwise about pixels under
                no mask.

        Raises:
            UserError: unknown UNCOVERED.
        """
        tasks, ours = cfg.MODEL.MASK_FORMER.TEST, cfg.MODEL.MASKCLIPPP.TEST
        return cls(
            semantic=tasks.SEMANTIC_ON,
            panoptic=tasks.PANOPTIC_ON,
            instance=tasks.INSTANCE_ON,
            mask_accuracy=ours.MASK_ACC,
            segmentor_only=ours.SEGMENTOR_ONLY,
            object_threshold=tasks.OBJECT_MASK_THRESHOLD,
            overlap_threshold=tasks.OVERLAP_THRESHOLD,
            top_k=cfg.TEST.DETECTIONS_PER_IMAGE,
            with_boxes=tasks.INSTANCE_BOX_ON,
            rules=_with_choice(rules or MaskRules(), ours.UNCOVERED),
        )

    def __call__(
        self, records: Sequence[dict[str, Any]], labelled: Sequence[LabelledMasks], seen: Tensor, metadata: Any
    ) -> list[dict[str, Any]]:
        """Do the tasks for B records.

        Args:
            records: with "height" and "width" of the original picture.
            labelled: logits and masks of each.
            seen: (K,) bool.
            metadata: of the test vocabulary; ``thing_dataset_id_to_contiguous_id`` tells the things.
        """
        things = sorted(getattr(metadata, "thing_dataset_id_to_contiguous_id", {}).values())
        results = []
        for record, (logits, masks) in zip(records, labelled, strict=True):
            if self.mask_accuracy:
                found = self._mask_classes(logits, seen)
            else:
                found = self._segment(logits, self.resize(masks, output_size(record)), len(seen), things)
            results.append({"category_overlapping_mask": seen.cpu()} | found)
        return results

    def generated(self, records: Sequence[dict[str, Any]], masks: Sequence[ResampledMasks]) -> list[dict[str, Any]]:
        """Return the masks of a generator alone, without classes, at the size of the original pictures."""
        void = {"uncovered_is_void": self.rules.uncovered_is_void}
        return [
            {"pred_masks": binary_masks(self.resize(each, output_size(record)))[0]} | void
            for record, each in zip(records, masks, strict=True)
        ]

    def resize(self, masks: ResampledMasks, size: tuple[int, int]) -> ResampledMasks:
        """Bring masks to the size of the original picture, as their rules say."""
        masks = masks.resize(size)
        return masks.resized_by("antialias") if self.rules.postprocessing == "transformers_oneformer" else masks

    def label_map(self, views: Sequence[LabelledMasks], num_classes: int) -> dict[str, Any]:
        """Return the semantic results of one picture, the mean over views of it.

        Args:
            views: logits, and masks on the grid of the original picture.
            num_classes: K.
        """
        void = self.rules.uncovered_is_void
        # Soft masks say a little everywhere; if pixels under none are asked for, these are where none reaches a half.
        uncovered = uncovered_pixels([masks for _, masks in views], solid=self.rules.solid or void)
        found = {"sem_seg_uncovered": uncovered, "uncovered_is_void": void}
        if self.label_maps:
            labels = semantic_labels([(class_probabilities(logits, num_classes), masks) for logits, masks in views])
            return found | {"sem_seg_labels": labels.masked_fill_(uncovered, num_classes) if void else labels}
        scores = sum(semantic_scores(logits, masks, num_classes) for logits, masks in views)
        return found | {"sem_seg": scores / len(views) if len(views) > 1 else scores}

    def _mask_classes(self, logits: Tensor, seen: Tensor) -> dict[str, Any]:
        result = {"mask_cls": mask_classes(logits, len(seen))}
        if seen.any() and not seen.all():
            result["mask_cls_unseen"] = mask_classes(logits, len(seen), among=~seen)
        return result

    def _segment(
        self, logits: Tensor, masks: ResampledMasks, num_classes: int, things: Sequence[int]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if self.semantic:
            result |= self.label_map([(logits, masks)], num_classes)
        rules, thresholds = self.rules.postprocessing, self._thresholds
        if self.panoptic:
            panoptic = panoptic_inference if rules == "published" else transformers_panoptic
            options = {"num_classes": num_classes, "thing_ids": things}
            result["panoptic_seg"] = panoptic(logits, masks, **options, **thresholds)
        if self.instance:
            instances, more = _INSTANCES[rules], thresholds if rules == "transformers_oneformer" else {}
            only_things = self.panoptic or len(things) > 0
            result["instances"] = instances(
                logits,
                masks,
                num_classes=num_classes,
                top_k=self.top_k,
                thing_ids=torch.tensor(things, dtype=torch.long, device=logits.device) if only_things else None,
                with_boxes=self.with_boxes,
                **more,
            )
        return result

    @property
    def _thresholds(self) -> dict[str, float]:
        return {"object_threshold": self.object_threshold, "overlap_threshold": self.overlap_threshold}


def _with_choice(rules: MaskRules, uncovered: str) -> MaskRules:
    if uncovered not in UNCOVERED:
        choices = ", ".join(UNCOVERED)
        raise UserError(f"MODEL.MASKCLIPPP.TEST.UNCOVERED '{uncovered}' is unknown; choose one of {choices}")
    return rules if uncovered == "auto" else replace(rules, uncovered_is_void=uncovered == "void")


def output_size(record: dict[str, Any]) -> tuple[int, int]:
    """Return (height, width) of the original picture of a record, or of its image if it does not say."""
    height, width = record["image"].shape[-2:]
    return record.get("height", height), record.get("width", width)
