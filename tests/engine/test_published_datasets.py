"""From the miniature of each official download to a number: preparation, registration, a training step, evaluation."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskclippp.data.datasets import register_all
from maskclippp.data.preparation.options import Options
from maskclippp.engine.main import main
from tests.data.preparation.miniatures import MINIATURES, build_lvis, labels, picture, quarters

TASKS = ("SEMANTIC", "PANOPTIC", "INSTANCE")
SMALL = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(32,)", "INPUT.CROP.SIZE", "[32, 32]", "INPUT.SIZE_DIVISIBILITY", "32"),
    *("INPUT.MIN_SIZE_TEST", "32", "INPUT.IMAGE_SIZE", "32", "DATASETS.ALLOW_INCOMPLETE", "True"),
]


@dataclass(frozen=True)
class Chain:
    """What is trained and evaluated, by which mapper and masks, and the metrics that come out."""

    train: str
    test: str
    metrics: dict[str, str]
    mapper: str = "mask_former_semantic"
    masks: str = "GTSegmentor"
    tasks: tuple[str, ...] = ("SEMANTIC",)
    needs: str = ""


def semantic(miniature: str, name: str) -> tuple[str, Chain]:
    return miniature, Chain(name.format("train"), name.format("val"), {"sem_seg": "mIoU"})


PANOPTIC = {"mapper": "mask_former_panoptic", "masks": "PanGTSegmentor", "tasks": ("SEMANTIC", "PANOPTIC")}
PQ = {"panoptic_seg": "PQ", "sem_seg": "mIoU"}
ADE, COCO = "openvocab_ade20k_panoptic_{}", "openvocab_coco_2017_{}_panoptic_with_sem_seg"
CITY = "openvocab_cityscapes_fine_panoptic_{}"
CHAINS = {
    "A-150": semantic("ade20k semantic", "openvocab_ade20k_sem_seg_{}"),
    "A-847": semantic("ade20k full", "openvocab_ade20k_full_sem_seg_{}"),
    "PC-59": semantic("pascal context 59", "openvocab_pascal_ctx59_sem_seg_{}"),
    "PC-459": semantic("pascal context 459", "openvocab_pascal_ctx459_sem_seg_{}"),
    "PAS-20": semantic("pascal voc", "openvocab_pascal20_sem_seg_{}"),
    "PAS-21": semantic("pascal voc", "openvocab_pascal21_sem_seg_{}"),
    "COCO-Stuff": semantic("coco stuff", "openvocab_coco_2017_{}_stuff_sem_seg"),
    "A-150 panoptic": (
        "ade20k panoptic",
        Chain(ADE.format("train"), ADE.format("val"), PQ | {"segm": "AP"}, **(PANOPTIC | {"tasks": TASKS})),
    ),
    "COCO": (
        "coco panoptic",
        Chain(COCO.format("train"), COCO.format("val"), PQ, **(PANOPTIC | {"mapper": "coco_panoptic_lsj"})),
    ),
    "Cityscapes": (
        "cityscapes",
        Chain(
            CITY.format("train"), CITY.format("val"), {"panoptic_seg": "PQ"}, **(PANOPTIC | {"tasks": ("PANOPTIC",)})
        ),
    ),
    "Cityscapes, official": (
        "cityscapes",
        Chain(
            CITY.format("train"),
            CITY.format("val"),
            {"sem_seg": "IoU"},
            needs="cityscapesscripts",
        ),
    ),
    "Mapillary": (
        "mapillary",
        Chain("openvocab_mapillary_vistas_panoptic_val", "openvocab_mapillary_vistas_panoptic_val", PQ, **PANOPTIC),
    ),
    "COCO 48/17": (
        "coco class splits",
        Chain(
            "coco_instance_train_base48",
            "coco_instance_val_instances65",
            {"segm": "AP"},
            mapper="mask_former_instance",
            masks="OfflineSegmentor",
            tasks=("INSTANCE",),
        ),
    ),
    "LVIS": (
        "lvis",
        Chain(
            "openvocab_lvis_1203_instance_val",
            "openvocab_lvis_1203_instance_val",
            {"segm": "AP"},
            mapper="mask_former_instance",
            masks="OfflineSegmentor",
            tasks=("INSTANCE",),
            needs="lvis",
        ),
    ),
}


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    yield tmp_path / "data"
    monkeypatch.undo()
    register_all()


@pytest.mark.parametrize("name", CHAINS)
def test_from_download_to_number(name, datasets, root_dir, tmp_path, capfd) -> None:
    miniature, chain = CHAINS[name]
    if chain.needs and importlib.util.find_spec(chain.needs) is None:
        pytest.skip(f"package {chain.needs} is not installed")
    if miniature == "lvis":
        build_lvis(datasets)
    else:
        MINIATURES[miniature].build(datasets)
        MINIATURES[miniature].prepare(Options(datasets, partial=True))
    masks = datasets / "masks"
    masks.mkdir()
    for path in datasets.glob("coco/*2017/*.jpg"):  # one mask: the object of the annotations
        outline = {"size": [24, 32], "counts": [50, 8, 16, 8, 16, 8, 662]}
        (masks / f"{path.stem}.json").write_text(json.dumps([{"segmentation": outline}]))
    switches = [item for task in TASKS for item in (f"MODEL.MASK_FORMER.TEST.{task}_ON", str(task in chain.tasks))]
    status = main(
        [
            *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"), "--num-gpus", "0"),
            *("--tag", "mini", "OUTPUT_DIR", str(tmp_path), "DATASETS.TRAIN", f"('{chain.train}',)"),
            *("DATASETS.TEST", f"('{chain.test}',)", "INPUT.DATASET_MAPPER_NAME", chain.mapper),
            *("MODEL.MASKCLIPPP.SEGMENTOR.NAME", chain.masks, "MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR", str(masks)),
            *("MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_SUFFIX", ".json", *SMALL, *switches),
        ]
    )
    assert status == 0, capfd.readouterr().err
    found = results(tmp_path)[chain.test]
    for task, metric in chain.metrics.items():
        assert 0 <= found[task][metric] <= 100


def test_mess(datasets, root_dir, tmp_path, monkeypatch, capfd) -> None:
    """Mask accuracy on a set of the MESS benchmark; class names come from the source of its package."""
    package = tmp_path / "site/mess/datasets"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "register_cwfid.py").write_text("CLASSES = ['ground', 'crop seedling', 'weed']\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for number in ("001", "002"):
        picture(datasets / f"cwfid/images/{number}_image.png")
        labels(datasets / f"cwfid/annotations_detectron2/test/{number}_annotation.png", quarters(0, 1, 2, 255))
    name = "cwfid_sem_seg_test"
    status = main(
        [
            *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"), "--num-gpus", "0"),
            *("--tag", "mini", "--eval-only", "OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", f"('{name}',)"),
            *("MODEL.MASKCLIPPP.TEST.MASK_ACC", "True", "MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM", *SMALL),
        ]
    )
    assert status == 0, capfd.readouterr().err
    accuracy = results(tmp_path)[name]["mask_acc"]
    assert set(accuracy) >= {"mMaskAcc", "MaskAcc-ground", "MaskAcc-crop seedling", "MaskAcc-weed"}
    assert 0 <= accuracy["mMaskAcc"] <= 100


def results(output: Path) -> dict:
    return json.loads((output / "maskclippp_toy_clip-vit/mini/inference/results.json").read_text())
