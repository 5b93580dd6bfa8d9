"""Masks of objects only, as of SAM, from the command line: what lies under none is no class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskclippp.data.annotations import read_label_map
from maskclippp.engine.main import main
from maskclippp.toy.writer import make_world

CLASSES, IGNORED = 96, 255


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Three test scenes, with a COCO file of the objects in them."""
    root = tmp_path_factory.mktemp("world")
    make_world(root, counts={"train": 0, "val": 0, "test": 3}, workers=1, show_progress=False)
    return root


def evaluate(root_dir: Path, world: Path, out: Path, monkeypatch, *options: str) -> tuple[dict, Path]:
    """Scores of the original CLIP with the masks of the objects, and where the predictions are."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(world))
    ours = "MODEL.MASKCLIPPP"
    status = main(
        [
            *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml")),
            *("--num-gpus", "0", "--eval-only", "OUTPUT_DIR", str(out)),
            *("DATASETS.TEST", "('toy_sem_seg_test',)", "DATALOADER.NUM_WORKERS", "0"),
            *("TEST.SAVE_PREDICTIONS", "True", f"{ours}.PSM.NAME", "DummyPSM"),
            *(f"{ours}.SEGMENTOR.NAME", "OfflineSegmentor"),
            *(f"{ours}.SEGMENTOR.OFFLINE_ANN_DIR", str(world / "toy/instance_test.json"), *options),
        ]
    )
    assert status == 0
    (results,) = out.rglob("results.json")
    return json.loads(results.read_text())["toy_sem_seg_test"], results.parent


def saved(folder: Path) -> dict[str, np.ndarray]:
    """Label maps by stem."""
    return {path.stem: np.array(Image.open(path)) for path in folder.rglob("sem_seg_predictions/**/*.png")}


def test_what_no_mask_covers_is_no_class(root_dir, world, tmp_path, monkeypatch, capsys):
    truth = {path.stem: read_label_map(path) for path in (world / "toy/annotations_detectron2/test").glob("*.png")}
    void, folder = evaluate(root_dir, world, tmp_path / "void", monkeypatch)
    said = "".join(capsys.readouterr())
    best, best_folder = evaluate(
        root_dir, world, tmp_path / "best", monkeypatch, "MODEL.MASKCLIPPP.TEST.UNCOVERED", "argmax"
    )
    maps, best_maps = saved(folder), saved(best_folder)
    assert maps.keys() == best_maps.keys() == truth.keys() and len(truth) == 3
    free = {stem: labels == IGNORED for stem, labels in maps.items()}
    for stem, labels in maps.items():
        assert 0.2 < free[stem].mean() < 0.95
        assert labels.dtype == np.uint8 and set(np.unique(labels[~free[stem]])) <= set(range(CLASSES))
        assert (best_maps[stem] == labels).all()  # people see the same, whatever is scored
    labelled = sum((labels != IGNORED).sum() for labels in truth.values())
    uncovered = sum((free[stem] & (labels != IGNORED)).sum() for stem, labels in truth.items())
    assert void["sem_seg"]["uncovered"] == pytest.approx(100 * uncovered / labelled)
    line = f"{100 * uncovered / labelled:.2f} % of {labelled} labelled pixels lie under no mask; they count as void"
    assert line in said
    hits = sum((maps[stem] == labels)[labels != IGNORED].sum() for stem, labels in truth.items())
    assert void["sem_seg"]["pACC"] == pytest.approx(100 * hits / labelled)
    assert "uncovered" not in best["sem_seg"] and best["sem_seg"]["pACC"] >= void["sem_seg"]["pACC"]


def test_augmentation_and_classes_of_the_truth(root_dir, world, tmp_path, monkeypatch):
    augmented = ("TEST.AUG.ENABLED", "True", "TEST.AUG.MIN_SIZES", "(96, 128)")
    found, folder = evaluate(root_dir, world, tmp_path / "tta", monkeypatch, *augmented)
    assert found["sem_seg_TTA"]["uncovered"] == pytest.approx(found["sem_seg"]["uncovered"], abs=1.5)
    views = saved(folder.parent / "inference_TTA")
    assert views and all((labels == IGNORED).mean() > 0.2 for labels in views.values())
    oracle, folder = evaluate(
        root_dir, world, tmp_path / "oracle", monkeypatch, "MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY", "True"
    )
    assert oracle["sem_seg"]["uncovered"] >= found["sem_seg"]["uncovered"] - 1e-9
    assert oracle["sem_seg"]["pACC"] <= 100 - oracle["sem_seg"]["uncovered"] + 1e-9
