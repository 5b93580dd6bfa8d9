"""A Mask2Former without classes: trained, evaluated by its recall, and used as mask generator."""

from __future__ import annotations

import json

import pytest

from maskclippp.engine.main import main
from maskclippp.toy.writer import make_world

SMALL = (
    *("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.CROP.SIZE", "[64, 64]", "INPUT.SIZE_DIVISIBILITY", "64"),
)


@pytest.fixture
def run(root_dir, tmp_path, monkeypatch, capfd):
    """Run a toy config on a small toy world; return its results."""
    make_world(tmp_path, counts={"train": 4, "val": 2, "test": 0}, workers=1, show_progress=False)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def _run(config: str, *options: str) -> dict:
        file = str(root_dir / f"configs/toy/{config}.yaml")
        flags = [option for option in options if option.startswith("--")]
        rest = [option for option in options if not option.startswith("--")]
        common = ("DATASETS.ALLOW_INCOMPLETE", "True", "OUTPUT_DIR", str(tmp_path / "out"), *SMALL)
        status = main(["--config-file", file, "--num-gpus", "0", "--tag", "t", *flags, *common, *rest])
        assert status == 0, capfd.readouterr().err
        path = tmp_path / "out" / config / "t" / "inference" / "results.json"
        return json.loads(path.read_text())["toy_panoptic_val"]

    return _run


def test_train_evaluate_and_use(run, tmp_path) -> None:
    found = run("mask2former_toy_object")
    recall = found["mask_recall"]
    assert 0 <= recall["AR@10"] <= recall["AR@100"] <= recall["AR"] <= 100
    assert {"sem_seg", "panoptic_seg", "segm"} <= found.keys()
    weights = str(tmp_path / "out/mask2former_toy_object/t/model_final.pth")
    again = run("mask2former_toy_object", "--eval-only", "MODEL.WEIGHTS", weights)
    assert again["mask_recall"] == recall
    ours = "MODEL.MASKCLIPPP"
    named = run(
        "maskclippp_toy_clip-vit_m2f",
        *("--eval-only", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "1", f"{ours}.PSM.NAME", "DummyPSM"),
        *(f"{ours}.VISUAL_ENCODER_F.PRETRAINED", weights, f"{ours}.SEGMENTOR.PRETRAINED", weights),
    )
    assert 0 <= named["sem_seg"]["mIoU"] <= 100
    alone = run(
        "maskclippp_toy_clip-vit_m2f",
        *("--eval-only", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "1", f"{ours}.TEST.SEGMENTOR_ONLY", "True"),
        *(f"{ours}.VISUAL_ENCODER_F.PRETRAINED", weights, f"{ours}.SEGMENTOR.PRETRAINED", weights),
    )
    assert {"AR@10", "AR@100"} <= alone["mask_recall"].keys()
