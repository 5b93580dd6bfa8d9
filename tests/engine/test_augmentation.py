"""Test-time augmentation from the command line."""

from __future__ import annotations

import json

import pytest

from maskclippp.engine.main import main
from maskclippp.toy.writer import make_world


def test_semantic_scores_with_and_without_augmentation(root_dir, tmp_path, monkeypatch):
    counts = {"train": 0, "val": 0, "test": 2}
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    make_world(tmp_path, counts=counts, workers=1, show_progress=False)
    status = main(
        [
            "--config-file",
            str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"),
            *("--num-gpus", "0", "--eval-only", "--tag", "aug", "OUTPUT_DIR", str(tmp_path / "out")),
            *("DATASETS.TEST", "('toy_sem_seg_test',)", "DATALOADER.NUM_WORKERS", "0"),
            *("MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM", "MODEL.MASKCLIPPP.USE_LOGIT_SCALE", "True"),
            *("TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(96, 128)"),
        ]
    )
    assert status == 0
    folder = tmp_path / "out/maskclippp_toy_clip-vit/aug/inference"
    (results,) = json.loads((folder / "results.json").read_text()).values()
    assert results.keys() == {"sem_seg", "sem_seg_TTA"}
    # The masks are the ground truth's, so augmentation can change classes only.
    assert results["sem_seg_TTA"]["pACC"] > 5 and results["sem_seg_TTA"] != results["sem_seg"]


@pytest.mark.parametrize("task", ["SEGMENTOR_ONLY", "MASK_ACC"])
def test_what_makes_no_label_maps_is_refused_before_it_is_evaluated(root_dir, tmp_path, monkeypatch, capsys, task):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    status = main(
        [
            *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml")),
            *("--num-gpus", "0", "--eval-only", "OUTPUT_DIR", str(tmp_path / "out")),
            *("TEST.AUG.ENABLED", "True", f"MODEL.MASKCLIPPP.TEST.{task}", "True"),
            *("MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM"),
        ]
    )
    assert status == 1
    message = capsys.readouterr().err
    assert f"TEST.{task} makes none; set TEST.AUG.ENABLED False" in message and "Traceback" not in message
