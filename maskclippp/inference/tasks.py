"""From what a method says about pictures to the dicts that detectron2's evaluators, and ours, read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from maskclippp.structures import (
    DensePrediction,
    MaskPrediction,
    MaskRules,
    Prediction,
    PreparedVocabulary,
)
from maskclippp.utils.errors import UserError

from .class_logits import mask_classes
from .coverage import uncovered_pixels
from .instance import binary_masks, instance_inference
from .panoptic import panoptic_inference
from .semantic import class_probabilities, semantic_labels, semantic_scores
from .transformers_rules import oneformer_instances, transformers_instances, transformers_panoptic

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
        segmentor_only: only the generated masks: "pred_masks" (Q, H0, W0) bool, and "mask_scores" (Q,) if the method
            says how sure it is that they are objects.
        label_maps: instead of "sem_seg" return its arg-max "sem_seg_labels" (H0, W0), for which the scores of all
            classes are never held at once; K where the prediction is void.
        object_threshold, overlap_threshold: see :func:`~maskclippp.inference.panoptic_inference`.
        top_k, with_boxes: see :func:`~maskclippp.inference.instance_inference`.
        uncovered: pixels under no mask are "void", or the "argmax" of all-zero scores; "auto": as the masks' rules say.
        panoptic_masks: the masks of ``mask_accuracy`` are panoptic segments, not the classes of a label map.
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
    uncovered: str = "auto"
    panoptic_masks: bool = False

    def __post_init__(self) -> None:
        if self.uncovered not in UNCOVERED:
            raise UserError(
                f"MODEL.MASKCLIPPP.TEST.UNCOVERED '{self.uncovered}' is unknown; choose one of {', '.join(UNCOVERED)}"
            )

    @classmethod
    def from_config(cls, cfg, **options: Any) -> TaskInference:
        """Read MODEL.MASK_FORMER.TEST, MODEL.MASKCLIPPP.TEST, the generator's name and TEST: the tasks of all methods.

        Nothing else outside the methods and generators reads these keys for what is done in evaluation.

        SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE is not read: mixing masks and resizing them commute.

        Args:
            cfg: the whole config.
            options: attributes that the config does not decide.

        Raises:
            UserError: unknown UNCOVERED.
        """
        tasks, ours = cfg.MODEL.MASK_FORMER.TEST, cfg.MODEL.MASKCLIPPP.TEST
        generator = cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME
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
            uncovered=ours.UNCOVERED,
            panoptic_masks=generator == "PanGTSegmentor",
            **options,
        )

    def __call__(
        self,
        records: Sequence[dict[str, Any]],
        predictions: Sequence[Prediction],
        prepared: PreparedVocabulary,
    ) -> list[dict[str, Any]]:
        """Do the tasks for B records.

        Args:
            records: with "height" and "width" of the original picture.
            predictions: of each.
            prepared: the vocabulary that they are of.

        Raises:
            UserError: a task that needs masks, of a method that has none.
        """
        return [
            self._one(prediction, output_size(record), prepared)
            for record, prediction in zip(records, predictions, strict=True)
        ]

    def _one(self, prediction: Prediction, size: tuple[int, int], prepared: PreparedVocabulary) -> dict[str, Any]:
        overlapping = {"category_overlapping_mask": prepared.seen.cpu()}
        if isinstance(prediction, DensePrediction):
            if self.segmentor_only or self.mask_accuracy or self.panoptic or self.instance:
                raise UserError("this method scores pixels and finds no masks: only SEMANTIC_ON can be on")
            return overlapping | self.label_map([prediction.resize(size)], len(prepared))
        rules = self._rules(prediction.rules)
        if self.segmentor_only:
            solid, _ = binary_masks(prediction.resize(size).masks)
            scores = prediction.object_scores
            ranks = {} if scores is None else {"mask_scores": scores.cpu()}
            return {"pred_masks": solid, "uncovered_is_void": rules.uncovered_is_void} | ranks
        if self.mask_accuracy:
            return overlapping | self._mask_classes(prediction.logits, prepared.seen.to(prediction.logits.device))
        return overlapping | self._segment(prediction.resize(size), prepared)

    def label_map(self, views: Sequence[Prediction], num_classes: int) -> dict[str, Any]:
        """Return the semantic results of one picture, the mean over views of it.

        Args:
            views: predictions of one kind, on the grid of the original picture.
            num_classes: K.
        """
        if isinstance(views[0], DensePrediction):
            parts, found = [(None, view.scores) for view in views], {}
            if self.label_maps:
                return found | {"sem_seg_labels": semantic_labels(parts)}
            return found | {"sem_seg": sum(view.scores.dense() for view in views) / len(views)}
        rules = self._rules(views[0].rules)
        void = rules.uncovered_is_void
        # Soft masks say a little everywhere; if pixels under none are asked for, these are where none reaches a half.
        uncovered = uncovered_pixels([view.masks for view in views], solid=rules.solid or void)
        found = {"sem_seg_uncovered": uncovered, "uncovered_is_void": void}
        if self.label_maps:
            labels = semantic_labels([(class_probabilities(view.logits, num_classes), view.masks) for view in views])
            return found | {"sem_seg_labels": labels.masked_fill_(uncovered, num_classes) if void else labels}
        scores = sum(semantic_scores(view.logits, view.masks, num_classes) for view in views)
        return found | {"sem_seg": scores / len(views) if len(views) > 1 else scores}

    def _mask_classes(self, logits: Tensor, seen: Tensor) -> dict[str, Any]:
        result = {"mask_cls": mask_classes(logits, len(seen))}
        if seen.any() and not seen.all():
            result["mask_cls_unseen"] = mask_classes(logits, len(seen), among=~seen)
        return result

    def _segment(self, prediction: MaskPrediction, prepared: PreparedVocabulary) -> dict[str, Any]:
        logits, masks, num_classes, things = prediction.logits, prediction.masks, len(prepared), prepared.things
        result: dict[str, Any] = {}
        if self.semantic:
            result |= self.label_map([prediction], num_classes)
        rules, thresholds = prediction.rules.postprocessing, self._thresholds
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

    def _rules(self, rules: MaskRules) -> MaskRules:
        """The rules of masks, but for what is chosen about pixels under none."""
        return rules if self.uncovered == "auto" else replace(rules, uncovered_is_void=self.uncovered == "void")


def output_size(record: dict[str, Any]) -> tuple[int, int]:
    """Return (height, width) of the original picture of a record, or of its image if it does not say."""
    height, width = record["image"].shape[-2:]
    return record.get("height", height), record.get("width", width)
