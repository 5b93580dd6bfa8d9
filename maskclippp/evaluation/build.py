"""Which evaluators a dataset gets."""

from __future__ import annotations

import logging
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, DatasetEvaluators

from maskclippp.data.datasets import get_metadata
from maskclippp.evaluation.mask_accuracy import MaskAccEvaluator
from maskclippp.evaluation.semantic import SemSegEvaluator
from maskclippp.utils.errors import UserError

EVALUATOR_TYPES = ("sem_seg", "ade20k_panoptic_seg", "coco_panoptic_seg", "coco")
"""What metadata may say as ``evaluator_type``; mask accuracy works with every dataset."""

logger = logging.getLogger(__name__)


def build_evaluator_from_cfg(cfg: CfgNode, dataset_name: str, output_folder: str | None = None) -> DatasetEvaluator:
    """Read the switches of :func:`build_evaluator` from MODEL.MASKCLIPPP and MODEL.MASK_FORMER.TEST.

    Args:
        cfg: configuration.
        dataset_name: a registered dataset.
        output_folder: where results are written; OUTPUT_DIR/inference if None.
    """
    ours, tasks = cfg.MODEL.MASKCLIPPP, cfg.MODEL.MASK_FORMER.TEST
    return build_evaluator(
        dataset_name,
        output_folder=output_folder or str(Path(cfg.OUTPUT_DIR) / "inference"),
        segmentor_only=ours.TEST.SEGMENTOR_ONLY,
        mask_accuracy=ours.TEST.MASK_ACC,
        panoptic_masks=ours.SEGMENTOR.NAME == "PanGTSegmentor",
        semantic=tasks.SEMANTIC_ON,
        panoptic=tasks.PANOPTIC_ON,
        instance=tasks.INSTANCE_ON,
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
) -> DatasetEvaluator:
    """Return the evaluator of a dataset.

    Mask accuracy stands alone. Otherwise the dataset's ``evaluator_type`` decides, together with the tasks that are on.

    Args:
        dataset_name: a registered dataset.
        output_folder: where results are written, if given.
        segmentor_only: score the generated masks with the ground-truth class.
        mask_accuracy: score the class of ground-truth masks.
        panoptic_masks: those masks are panoptic segments instead of the classes of a label map.
        semantic: score label maps where the dataset leaves a choice.
        panoptic: score panoptic segments.
        instance: score instances.

    Raises:
        UserError: unknown dataset, or nothing that can be evaluated with these tasks.
    """
    metadata = get_metadata(dataset_name)
    if segmentor_only:
        raise UserError("evaluation of generated masks alone (TEST.SEGMENTOR_ONLY) is not available yet; switch it off")
    if mask_accuracy:
        return MaskAccEvaluator(
            _class_names(metadata),
            ignore_label=_ignore_label(metadata),
            panoptic=panoptic_masks,
            output_dir=output_folder,
        )
    kind = metadata.get("evaluator_type", None)
    evaluators: list[DatasetEvaluator] = []
    if kind == "coco" or (kind == "coco_panoptic_seg" and instance):
        evaluators.append(_coco_instances(metadata, output_folder))
    if kind in ("sem_seg", "ade20k_panoptic_seg") or (kind == "coco_panoptic_seg" and semantic):
        evaluators.append(
            SemSegEvaluator(_class_names(metadata), ignore_label=_ignore_label(metadata), output_dir=output_folder)
        )
    if not evaluators:
        raise UserError(f"dataset '{dataset_name}' (type '{kind}') has no evaluator for the tasks that are on")
    _warn_of_missing(dataset_name, kind, panoptic, instance)
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


def _class_names(metadata: Metadata) -> list[str]:
    return metadata.get("stuff_classes", None) or metadata.thing_classes


def _ignore_label(metadata: Metadata) -> int:
    return metadata.get("ignore_label", 255)


def _coco_instances(metadata: Metadata, output_folder: str | None) -> COCOEvaluator:
    json_file = metadata.get("json_file", None)
    if not json_file or not Path(json_file).exists():
        raise UserError(f"dataset '{metadata.name}': no instance file {json_file}; instance evaluation needs it")
    return COCOEvaluator(metadata.name, output_dir=output_folder)


def _warn_of_missing(dataset_name: str, kind: str, panoptic: bool, instance: bool) -> None:
    missing = []
    if panoptic and kind in ("ade20k_panoptic_seg", "coco_panoptic_seg"):
        missing.append("panoptic quality (PANOPTIC_ON)")
    if instance and kind == "ade20k_panoptic_seg":
        missing.append("instance AP (INSTANCE_ON)")
    if missing:
        logger.warning("%s: %s: not available yet, left out", dataset_name, " and ".join(missing))
