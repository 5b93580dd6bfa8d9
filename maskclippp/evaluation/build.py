"""Which evaluators a dataset gets."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata

from maskclippp.data.datasets import get_metadata, ignore_label_of
from maskclippp.inference import TaskInference
from maskclippp.utils.errors import UserError

from .cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from .instance import InstanceEvaluator
from .lvis_instances import LVISEvaluator
from .mask_accuracy import MaskAccEvaluator
from .oracle import AssignedClassesEvaluator
from .panoptic import PanopticEvaluator
from .predictions import PredictionWriter
from .recall import MaskRecallEvaluator
from .semantic import SemSegEvaluator
from .streaming import EvaluatorGroup, StreamingEvaluator

logger = logging.getLogger(__name__)

_ALWAYS = "always"
# evaluator_type -> in this order (task that must be on, method of _Parts that makes the evaluator).
_PLANS = {
    "sem_seg": (("semantic", "semantic"),),
    "ade20k_panoptic_seg": (("semantic", "semantic"), ("panoptic", "panoptic"), ("instance", "instance")),
    "coco_panoptic_seg": (("panoptic", "panoptic"), ("instance", "instance"), ("semantic", "semantic")),
    "mapillary_vistas_panoptic_seg": (("panoptic", "panoptic"), ("instance", "instance"), ("semantic", "semantic")),
    "cityscapes_panoptic_seg": (
        ("panoptic", "panoptic"),
        ("semantic", "cityscapes_semantic"),
        ("instance", "cityscapes_instance"),
    ),
    "cityscapes_sem_seg": (("semantic", "cityscapes_semantic"),),
    "cityscapes_instance": (("instance", "cityscapes_instance"),),
    "coco": (("instance", "instance"),),
    "lvis": (("instance", "lvis"),),
    "images": ((_ALWAYS, "predictions"),),
}

EVALUATOR_TYPES = tuple(_PLANS)
"""What metadata may say as ``evaluator_type``; mask accuracy works with every dataset that has masks."""


def build_evaluator_from_cfg(
    cfg: CfgNode,
    dataset_name: str,
    tasks: TaskInference,
    output_folder: str | None = None,
    similarity: np.ndarray | None = None,
) -> StreamingEvaluator:
    """Call :func:`build_evaluator` for what inference returns, with what TEST says about files.

    Args:
        cfg: configuration; TEST, DATASETS.ALLOW_INCOMPLETE and OUTPUT_DIR are read.
        dataset_name: a registered dataset.
        tasks: which results inference returns.
        output_folder: where results are written; OUTPUT_DIR/inference if None.
        similarity: (K, K) of the dataset's classes, for similarity-aware scores.
    """
    return build_evaluator(
        dataset_name,
        output_folder=output_folder or str(Path(cfg.OUTPUT_DIR) / "inference"),
        segmentor_only=tasks.segmentor_only,
        mask_accuracy=tasks.mask_accuracy,
        panoptic_masks=tasks.panoptic_masks,
        semantic=tasks.semantic,
        panoptic=tasks.panoptic,
        instance=tasks.instance,
        similarity=similarity,
        pictures=cfg.TEST.PICTURES,
        save_predictions=cfg.TEST.SAVE_PREDICTIONS,
        partial=cfg.DATASETS.ALLOW_INCOMPLETE,
    )


def build_evaluator(
    dataset_name: str,
    *,
    output_folder: str | None = None,
    segmentor_only: bool = False,
    mask_accuracy: bool = False,
    panoptic_masks: bool = False,
    semantic: bool = True,
    panoptic: bool = False,
    instance: bool = False,
    similarity: np.ndarray | None = None,
    pictures: int = 0,
    save_predictions: bool = False,
    partial: bool = False,
) -> StreamingEvaluator:
    """Return the evaluator of a dataset; several are one group.

    Generated masks alone and mask accuracy stand for themselves. Otherwise the dataset's ``evaluator_type`` decides,
    together with the tasks that are on.

    Args:
        dataset_name: a registered dataset.
        output_folder: where results are written, if given.
        segmentor_only: score the generated masks with the ground-truth class, and their recall.
        mask_accuracy: score the class of ground-truth masks.
        panoptic_masks: those masks are panoptic segments instead of the classes of a label map.
        semantic: score label maps.
        panoptic: score panoptic segments.
        instance: score instances.
        similarity: (K, K) of the dataset's classes; adds similarity-aware scores.
        pictures: draw confusions, and so many of the worst images.
        save_predictions: write label maps and panoptic segments.
        partial: not all images of the dataset are shown; Cityscapes' scripts must be told.

    Raises:
        UserError: unknown dataset, missing files or packages, or nothing that can be evaluated with these tasks.
    """
    metadata = get_metadata(dataset_name)
    parts = _Parts(metadata, output_folder, similarity, pictures, save_predictions, partial)
    switches = {"semantic": semantic, "panoptic": panoptic, "instance": instance}
    on = {task for task, wanted in switches.items() if wanted}
    if metadata.get("evaluator_type", None) == "images" and (segmentor_only or mask_accuracy):
        raise UserError(
            f"dataset '{dataset_name}' has no annotations; MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY and MASK_ACC need them"
        )
    if segmentor_only:
        return EvaluatorGroup([parts.assigned_classes(on), parts.recall()])
    if mask_accuracy:
        return parts.mask_accuracy(panoptic_masks)
    evaluators = [getattr(parts, maker)() for maker in _planned(metadata, on)]
    return evaluators[0] if len(evaluators) == 1 else EvaluatorGroup(evaluators)


def _planned(metadata: Metadata, on: set[str]) -> list[str]:
    """Return which methods of _Parts make the evaluators of a dataset for the tasks that are on.

    Raises:
        UserError: none of its tasks is.
    """
    kind = metadata.get("evaluator_type", None)
    plan = dict(_PLANS.get(kind, ()))
    where = f"dataset '{metadata.name}' (type '{kind}')"
    if not plan:
        raise UserError(f"{where}: evaluator_type is none of {', '.join(_PLANS)}; register it with one of these")
    if _ALWAYS in plan:
        return list(plan.values())
    if on.isdisjoint(plan):
        keys = " or ".join(f"{task.upper()}_ON" for task in plan)
        raise UserError(
            f"{where} is evaluated by the task{'s' if len(plan) > 1 else ''} {', '.join(plan)}, but the tasks that are "
            f"on are {', '.join(sorted(on)) or 'none'}; switch on MODEL.MASK_FORMER.TEST.{keys}"
        )
    rest = sorted(on - set(plan))
    if rest:
        logger.info("%s has no ground truth for what is on besides, and not evaluated: %s", where, ", ".join(rest))
    return [maker for task, maker in plan.items() if task in on]


@dataclass(frozen=True)
class _Parts:
    """Makes the evaluators of one dataset from its metadata."""

    metadata: Metadata
    output_folder: str | None
    similarity: np.ndarray | None
    pictures: int
    save_predictions: bool
    partial: bool = False

    @property
    def class_names(self) -> list[str]:
        return self.metadata.get("stuff_classes", None) or self.metadata.thing_classes

    @property
    def ignore_label(self) -> int | None:
        return ignore_label_of(self.metadata)

    @property
    def thing_map(self) -> dict[int, int]:
        return self.metadata.get("thing_dataset_id_to_contiguous_id", {})

    @property
    def is_panoptic(self) -> bool:
        return self.metadata.get("panoptic_root", None) is not None

    def semantic(self) -> SemSegEvaluator:
        if self.is_panoptic and not self.metadata.sem_seg_root:
            raise UserError(
                f"dataset '{self.metadata.name}' has no label maps, which semantic evaluation needs: name them in "
                "labels, or switch it off with MODEL.MASK_FORMER.TEST.SEMANTIC_ON False"
            )
        return SemSegEvaluator(
            self.class_names,
            ignore_label=self.ignore_label,
            similarity=self.similarity,
            pictures=self.pictures,
            save_predictions=self.save_predictions,
            colors=self.metadata.get("stuff_colors", None),
            output_dir=self.output_folder,
        )

    def panoptic(self) -> PanopticEvaluator:
        dataset_ids = {index: number for number, index in self.metadata.stuff_dataset_id_to_contiguous_id.items()}
        dataset_ids |= {index: number for number, index in self.thing_map.items()}
        return PanopticEvaluator(
            self.class_names,
            self.thing_map.values(),
            dataset_ids=[dataset_ids[index] for index in range(len(self.class_names))],
            similarity=self.similarity,
            pictures=self.pictures,
            save_predictions=self.save_predictions,
            strict_areas=bool(self.metadata.get("described_in", "")),
            output_dir=self.output_folder,
        )

    def predictions(self) -> PredictionWriter:
        ids = {index: number for number, index in self.metadata.stuff_dataset_id_to_contiguous_id.items()}
        return PredictionWriter(
            self.class_names,
            [ids[index] for index in range(len(ids))],
            thing_ids=self.thing_map.values(),
            ignore_label=self.ignore_label,
            colors=self.metadata.get("stuff_colors", None),
            output_dir=self.output_folder,
        )

    def instance(self) -> InstanceEvaluator:
        similarity = self.similarity
        if similarity is not None:
            things = sorted(self.thing_map.values())
            similarity = similarity[np.ix_(things, things)]
        return InstanceEvaluator(**self._instances(), similarity=similarity)

    def lvis(self) -> LVISEvaluator:
        return LVISEvaluator(**self._instances())

    def cityscapes_semantic(self) -> CityscapesSemSegEvaluator:
        return CityscapesSemSegEvaluator(
            self.class_names,
            **self._cityscapes(),
            save_predictions=self.save_predictions,
            colors=self.metadata.get("stuff_colors", None),
        )

    def cityscapes_instance(self) -> CityscapesInstanceEvaluator:
        return CityscapesInstanceEvaluator(self.class_names, **self._cityscapes())

    def mask_accuracy(self, panoptic_masks: bool) -> MaskAccEvaluator:
        return MaskAccEvaluator(
            self.class_names,
            ignore_label=self.ignore_label,
            panoptic=panoptic_masks,
            pictures=self.pictures > 0,
            output_dir=self.output_folder,
        )

    def assigned_classes(self, on: set[str]) -> AssignedClassesEvaluator:
        kind = str(self.metadata.get("evaluator_type", None))
        makers = {"semantic": self.semantic}
        if self.is_panoptic:
            instance = self.cityscapes_instance if kind.startswith("cityscapes") else self.instance
            makers |= {"panoptic": self.panoptic, "instance": instance}
        chosen = [task for task in makers if task in on]
        if not chosen or "stuff_classes" not in self.metadata.as_dict():
            raise UserError(
                f"dataset '{self.metadata.name}' (type '{kind}') has nothing that generated masks can be scored on "
                "(TEST.SEGMENTOR_ONLY) with the tasks that are on"
            )
        return AssignedClassesEvaluator(
            {task: makers[task]() for task in chosen},
            thing_ids=self.thing_map.values(),
            num_classes=len(self.class_names),
            ignore_label=self.ignore_label,
        )

    def recall(self) -> MaskRecallEvaluator:
        return MaskRecallEvaluator(
            self.class_names,
            panoptic=self.is_panoptic,
            ignore_label=self.ignore_label,
            output_dir=self.output_folder,
        )

    def _instances(self) -> dict[str, Any]:
        json_file = self.metadata.get("json_file", None)
        if not json_file or not Path(json_file).is_file():
            found = f"no instance file {json_file}" if json_file else "it is registered without an instance file"
            raise UserError(
                f"dataset '{self.metadata.name}': {found}; instance evaluation needs one, "
                "or switch it off with MODEL.MASK_FORMER.TEST.INSTANCE_ON False"
            )
        names, things = self.metadata.thing_classes, sorted(self.thing_map.values())
        if len(names) != len(things):  # some datasets list every class there
            names = [names[index] for index in things]
        return {
            "json_file": json_file,
            "class_ids": dict(self.thing_map),
            "class_names": names,
            "output_dir": self.output_folder,
        }

    def _cityscapes(self) -> dict[str, Any]:
        if self.output_folder is None:
            raise UserError("Cityscapes evaluation writes predictions as files: give an output folder")
        return {
            "gt_dir": self.metadata.get("gt_dir", None) or self.metadata.sem_seg_root,
            "output_dir": self.output_folder,
            "partial": self.partial,
        }
