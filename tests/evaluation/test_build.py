"""Which evaluator a dataset gets."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from maskclippp.config.defaults import default_config
from maskclippp.data.datasets import get_metadata, register_all
from maskclippp.evaluation.build import build_evaluator, build_evaluator_from_cfg
from maskclippp.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from maskclippp.evaluation.instance import InstanceEvaluator
from maskclippp.evaluation.mask_accuracy import MaskAccEvaluator
from maskclippp.evaluation.oracle import AssignedClassesEvaluator
from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.evaluation.recall import MaskRecallEvaluator
from maskclippp.evaluation.semantic import SemSegEvaluator
from maskclippp.evaluation.streaming import EvaluatorGroup
from maskclippp.inference import TaskInference
from maskclippp.utils.errors import UserError


@pytest.fixture(autouse=True)
def _registered(tmp_path):
    files = ("coco/annotations/instances_val2017.json", "toy/instance_val.json", ADE_JSON)
    names = (COCO, "toy_instance_val", ADE)
    register_all(str(tmp_path))
    for file, name in zip(files, names, strict=True):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        things = get_metadata(name).thing_dataset_id_to_contiguous_id
        content = {"images": [], "annotations": [], "categories": [{"id": number} for number in things]}
        (tmp_path / file).write_text(json.dumps(content))
    yield
    register_all()


COCO = "openvocab_coco_2017_val_panoptic_with_sem_seg"
ADE, ADE_JSON = "openvocab_ade20k_panoptic_val", "ADEChallengeData2016/ade20k_instance_val.json"
CITY = "openvocab_cityscapes_fine_panoptic_val"
LVIS = "openvocab_lvis_1203_instance_val"
ALL = {"semantic": True, "panoptic": True, "instance": True}


def kinds(evaluator) -> list[type]:
    return [type(one) for one in evaluator.evaluators] if isinstance(evaluator, EvaluatorGroup) else [type(evaluator)]


@pytest.mark.parametrize(
    ("name", "tasks", "expected"),
    [
        ("toy_sem_seg_val", {}, [SemSegEvaluator]),
        ("toy_sem_seg_val", ALL, [SemSegEvaluator]),
        ("toy_panoptic_val", {"semantic": False, "panoptic": True}, [PanopticEvaluator]),
        (
            "toy_panoptic_val",
            {"semantic": False, "panoptic": True, "instance": True},
            [PanopticEvaluator, InstanceEvaluator],
        ),
        (ADE, {"semantic": False, "instance": True}, [InstanceEvaluator]),
        ("toy_panoptic_val", ALL, [SemSegEvaluator, PanopticEvaluator, InstanceEvaluator]),
        (ADE, {}, [SemSegEvaluator]),
        (ADE, ALL, [SemSegEvaluator, PanopticEvaluator, InstanceEvaluator]),
        (COCO, {"semantic": True}, [SemSegEvaluator]),
        (COCO, ALL, [PanopticEvaluator, InstanceEvaluator, SemSegEvaluator]),
        ("toy_instance_val", {"instance": True}, [InstanceEvaluator]),
        ("toy_instance_val", {"semantic": False, "instance": True}, [InstanceEvaluator]),
        ("toy_sem_seg_val", {"mask_accuracy": True, "semantic": True}, [MaskAccEvaluator]),
        (COCO, {"mask_accuracy": True, "panoptic_masks": True, **ALL}, [MaskAccEvaluator]),
        (COCO, {"segmentor_only": True, **ALL}, [AssignedClassesEvaluator, MaskRecallEvaluator]),
        ("toy_sem_seg_val", {"segmentor_only": True, **ALL}, [AssignedClassesEvaluator, MaskRecallEvaluator]),
        (CITY, {"semantic": False, "panoptic": True}, [PanopticEvaluator]),
    ],
)
def test_kinds(name: str, tasks: dict, expected: list[type]) -> None:
    assert kinds(build_evaluator(name, **tasks)) == expected


def test_cityscapes(tmp_path) -> None:
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    expected = [PanopticEvaluator, CityscapesSemSegEvaluator, CityscapesInstanceEvaluator]
    assert kinds(build_evaluator(CITY, output_folder=str(tmp_path), **ALL)) == expected


def test_the_oracle_scores_what_is_on_and_there() -> None:
    def tasks(name: str, **on) -> list[str]:
        return list(build_evaluator(name, segmentor_only=True, **on).evaluators[0]._evaluators)

    assert tasks(COCO, **ALL) == ["semantic", "panoptic", "instance"]
    assert tasks(COCO, semantic=False, panoptic=True) == ["panoptic"]
    assert tasks("toy_sem_seg_val", **ALL) == ["semantic"]


def test_similarity_of_things_is_cut_out() -> None:
    similarity = np.eye(150)
    things = sorted(get_metadata(ADE).thing_dataset_id_to_contiguous_id.values())
    similarity[things[3], things[1]] = 0.5
    instances = build_evaluator(ADE, similarity=similarity, **ALL).evaluators[2]
    assert instances._similarity.shape == (100, 100) and instances._similarity[3, 1] == 0.5


@pytest.mark.parametrize(
    ("name", "tasks", "message"),
    [
        ("toy_sem_seg", {}, "no dataset is called 'toy_sem_seg'; did you mean"),
        ("toy_sem_seg_val", {"segmentor_only": True, "semantic": False}, r"nothing that generated masks can be scored"),
        ("toy_instance_val", {"segmentor_only": True}, r"nothing that generated masks can be scored"),
        (
            COCO,
            {"semantic": False},
            r"the tasks panoptic, instance, semantic, but the tasks that are on are none; switch",
        ),
        ("toy_sem_seg_val", {"semantic": False}, r"by the task semantic, .* MODEL\.MASK_FORMER\.TEST\.SEMANTIC_ON$"),
        (
            "toy_sem_seg_val",
            {"semantic": False, "panoptic": True, "instance": True},
            r"dataset 'toy_sem_seg_val' \(type 'sem_seg'\) is evaluated by the task semantic, but the tasks that are "
            r"on are instance, panoptic; switch on MODEL\.MASK_FORMER\.TEST\.SEMANTIC_ON$",
        ),
        ("toy_instance_val", {}, r"the tasks that are on are semantic; switch on MODEL\..*\.INSTANCE_ON$"),
        (LVIS, {"panoptic": True}, r"the tasks that are on are panoptic, semantic; switch on MODEL\..*\.INSTANCE_ON$"),
        (ADE, {"semantic": False}, r"switch on MODEL\..*\.SEMANTIC_ON or PANOPTIC_ON or INSTANCE_ON$"),
        (CITY, {}, "give an output folder"),
        (
            "toy_instance_train",
            {"instance": True},
            r"dataset 'toy_instance_train': no instance file .*instance_train\.json",
        ),
    ],
)
def test_what_cannot_be_evaluated(name: str, tasks: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_evaluator(name, **tasks)
    assert "\n" not in str(error.value)


def test_published_configs_evaluate_semantics(root_dir) -> None:
    """The published rule, label maps always on ADE20K and semantic sets, is what the switches of all configs say."""
    assert default_config().MODEL.MASK_FORMER.TEST.SEMANTIC_ON
    configs = sorted((root_dir / "configs").rglob("*.yaml"))
    assert len(configs) > 25
    for path in configs:
        assert set(re.findall(r"SEMANTIC_ON: *(\S+)", path.read_text())) <= {"True"}, path


def test_own_panoptic_data_without_label_maps(tmp_path) -> None:
    (tmp_path / "p.json").write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "sky"}]}')
    path = tmp_path / "mine.yaml"
    path.write_text("images: images\npanoptic: p.json\n")
    assert kinds(build_evaluator(str(path), semantic=False, panoptic=True)) == [PanopticEvaluator]
    with pytest.raises(
        UserError, match=r"mine\.yaml' has no label maps, which semantic evaluation needs: name them in"
    ):
        build_evaluator(str(path), panoptic=True)


def test_a_dataset_without_instance_file() -> None:
    """Says so, instead of naming a file None."""
    name = "openvocab_mapillary_vistas_panoptic_val"
    message = f"dataset '{name}': it is registered without an instance file; .*INSTANCE_ON False$"
    with pytest.raises(UserError, match=message):
        build_evaluator(name, **ALL)


def test_from_config(tmp_path) -> None:
    cfg = default_config()
    cfg.OUTPUT_DIR = str(tmp_path)
    cfg.MODEL.MASKCLIPPP.TEST.MASK_ACC = True
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME = "PanGTSegmentor"
    evaluator = build_evaluator_from_cfg(cfg, "toy_panoptic_val", TaskInference.from_config(cfg))
    assert isinstance(evaluator, MaskAccEvaluator) and evaluator._panoptic
    assert evaluator._output_dir == str(tmp_path / "inference")
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME = "GTSegmentor"
    assert not TaskInference.from_config(cfg).panoptic_masks
    cfg.MODEL.MASKCLIPPP.TEST.MASK_ACC = False
    cfg.TEST.PICTURES = 3
    tasks = TaskInference.from_config(cfg)
    evaluator = build_evaluator_from_cfg(cfg, "toy_panoptic_val", tasks, str(tmp_path), similarity=np.eye(96))
    assert isinstance(evaluator, SemSegEvaluator) and evaluator._pictures == 3 and evaluator._similarity is not None
