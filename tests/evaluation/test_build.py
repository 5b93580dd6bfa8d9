"""Which evaluator a dataset gets."""

from __future__ import annotations

import json
import logging

import pytest
from detectron2.config import CfgNode as CN
from detectron2.evaluation import COCOEvaluator, DatasetEvaluators

from maskclippp.data.datasets import register_all
from maskclippp.evaluation.build import build_evaluator, build_evaluator_from_cfg
from maskclippp.evaluation.mask_accuracy import MaskAccEvaluator
from maskclippp.evaluation.semantic import SemSegEvaluator
from maskclippp.utils.errors import UserError


@pytest.fixture(autouse=True)
def _registered(tmp_path):
    for name in ("coco/annotations/instances_val2017.json", "toy/instance_val.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    register_all(str(tmp_path))
    yield
    register_all()


COCO = "openvocab_coco_2017_val_panoptic_with_sem_seg"
ALL = {"semantic": True, "panoptic": True, "instance": True}


@pytest.mark.parametrize(
    ("name", "tasks", "expected"),
    [
        ("toy_sem_seg_val", {"semantic": False}, [SemSegEvaluator]),
        ("toy_panoptic_val", ALL, [SemSegEvaluator]),
        ("openvocab_ade20k_panoptic_val", {}, [SemSegEvaluator]),
        (COCO, {"semantic": True}, [SemSegEvaluator]),
        (COCO, ALL, [COCOEvaluator, SemSegEvaluator]),
        ("toy_instance_val", {}, [COCOEvaluator]),
        ("toy_sem_seg_val", {"mask_accuracy": True, "semantic": True}, [MaskAccEvaluator]),
        (COCO, {"mask_accuracy": True, "panoptic_masks": True, **ALL}, [MaskAccEvaluator]),
    ],
)
def test_kinds(name: str, tasks: dict, expected: list[type]) -> None:
    evaluator = build_evaluator(name, **tasks)
    found = evaluator._evaluators if isinstance(evaluator, DatasetEvaluators) else [evaluator]
    assert [type(one) for one in found] == expected


def test_what_is_left_out_is_said(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        build_evaluator("toy_panoptic_val", **ALL)
    assert "panoptic quality (PANOPTIC_ON) and instance AP (INSTANCE_ON): not available yet" in caplog.text


@pytest.mark.parametrize(
    ("name", "tasks", "message"),
    [
        ("toy_sem_seg", {}, "no dataset is called 'toy_sem_seg'; did you mean"),
        ("toy_sem_seg_val", {"segmentor_only": True}, r"TEST\.SEGMENTOR_ONLY\) is not available yet"),
        (COCO, {"semantic": False}, "has no evaluator for the tasks that are on"),
        ("openvocab_cityscapes_fine_panoptic_val", {}, "type 'cityscapes_panoptic_seg'"),
        ("toy_instance_train", {}, r"dataset 'toy_instance_train': no instance file .*instance_train\.json"),
    ],
)
def test_what_cannot_be_evaluated(name: str, tasks: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_evaluator(name, **tasks)


def test_from_config(tmp_path) -> None:
    cfg = CN({"OUTPUT_DIR": str(tmp_path), "MODEL": {"MASKCLIPPP": {}, "MASK_FORMER": {}}})
    cfg.MODEL.MASKCLIPPP.TEST = CN({"SEGMENTOR_ONLY": False, "MASK_ACC": True})
    cfg.MODEL.MASKCLIPPP.SEGMENTOR = CN({"NAME": "PanGTSegmentor"})
    cfg.MODEL.MASK_FORMER.TEST = CN({"SEMANTIC_ON": True, "PANOPTIC_ON": False, "INSTANCE_ON": False})
    evaluator = build_evaluator_from_cfg(cfg, "toy_panoptic_val")
    assert isinstance(evaluator, MaskAccEvaluator) and evaluator._panoptic
    assert evaluator._output_dir == str(tmp_path / "inference")
    cfg.MODEL.MASKCLIPPP.TEST.MASK_ACC = False
    assert isinstance(build_evaluator_from_cfg(cfg, "toy_panoptic_val", str(tmp_path)), SemSegEvaluator)
