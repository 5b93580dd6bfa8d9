"""The command line on data of one's own: incomplete sets, pictures without annotations, equal stems in folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from maskclippp.engine.main import main

ALLOW = ("DATASETS.ALLOW_INCOMPLETE", "True")
TASKS = "MODEL.MASK_FORMER.TEST"
SMALL = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "1", "DATALOADER.NUM_WORKERS", "0", "INPUT.MIN_SIZE_TEST", "32"),
    *("INPUT.MIN_SIZE_TRAIN", "(32,)", "INPUT.CROP.SIZE", "[32, 32]", "INPUT.SIZE_DIVISIBILITY", "32"),
]


@pytest.fixture
def own(tmp_path, root_dir):
    """``own.write(name, **keys)`` describes a dataset; ``own.run(file, *options)`` returns status and results."""
    rng = np.random.default_rng(0)

    class Own:
        folder = tmp_path

        def picture(self, path: str) -> None:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (32, 40, 3), np.uint8)).save(tmp_path / path)

        def labels(self, path: str) -> None:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 20)[None].repeat(32, 0)).save(tmp_path / path)

        def write(self, **keys) -> str:
            (tmp_path / "mine.json").write_text(json.dumps({"images": "images", "classes": ["sky", "dog"]} | keys))
            return str(tmp_path / "mine.json")

        def run(self, *options: str, train: bool = False) -> tuple[int, dict]:
            config = str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml")
            mode = [] if train else ["--eval-only", "MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM"]
            call = [
                "--config-file",
                config,
                "--num-gpus",
                "0",
                "--tag",
                "t",
                *mode,
                "OUTPUT_DIR",
                str(tmp_path / "out"),
            ]
            status = main([*call, "DATASETS.TEST", f"('{tmp_path / 'mine.json'}',)", *SMALL, *options])
            found = self.output / "results.json"
            return status, json.loads(found.read_text()) if found.exists() else {}

        @property
        def output(self) -> Path:
            return tmp_path / "out/maskclippp_toy_clip-vit/t/inference"

        @property
        def predictions(self) -> Path:
            return self.output / str(tmp_path / "mine.json").strip("/").replace("/", "_")

    yield Own()
    for name in [name for name in DatasetCatalog.list() if name.startswith(str(tmp_path))]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_missing_label_map_needs_consent_and_marks_the_results(own, capfd) -> None:
    for name in ("seq1/1", "seq2/1", "2"):
        own.picture(f"images/{name}.jpg")
        own.labels(f"labels/{name}.png")
    file = own.write(labels="labels")
    status, found = own.run()
    assert status == 0 and list(found[file]) == ["sem_seg"]
    (own.folder / "labels/seq2/1.png").unlink()
    (own.output / "results.json").unlink()
    status, found = own.run()
    error = capfd.readouterr().err.splitlines()[-1]
    assert status == 1 and not found
    assert error.startswith(f"error: dataset '{file}': only 2 of 3 pictures can be used: 1 of 3 pictures have no label")
    status, found = own.run(*ALLOW)
    assert status == 0 and found[file]["partial"] == {"images": 2, "of": 3} and found[file]["sem_seg"]["mIoU"] >= 0
    printed = capfd.readouterr()
    assert "these results are of a part of the dataset: 1 of 3 pictures" in printed.out + printed.err
    assert own.run("DATASETS.TRAIN", f"('{file}',)", train=True)[0] == 1


def test_pictures_without_annotations(own, capfd) -> None:
    """Masks come from files; predictions of all tasks are written, nothing is scored, nothing is trained."""
    names = ["seq1/1.jpg", "seq2/1.jpg", "2.png"]
    for name in names:
        own.picture(f"images/{name}")
        own.labels(f"masks/{Path(name).with_suffix('.png')}")
    file = own.write()
    offline = [
        *(
            "MODEL.MASKCLIPPP.SEGMENTOR.NAME",
            "OfflineSegmentor",
            "MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_SUFFIX",
            ".png",
        ),
        *("MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR", str(own.folder / "masks")),
    ]
    status, found = own.run(*offline, f"{TASKS}.PANOPTIC_ON", "True")
    assert status == 0, capfd.readouterr().err
    assert found == {file: {"predictions": {"images": 3}}}
    labels = own.predictions / "sem_seg_predictions"
    found = sorted(str(path.relative_to(labels)) for path in labels.rglob("*.png"))
    assert found == ["2.png", "seq1/1.png", "seq2/1.png"]
    assert len(json.loads((own.predictions / "predictions.json").read_text())["annotations"]) == 3
    assert not list(own.predictions.rglob("*.csv"))
    refused = {
        ("MODEL.MASKCLIPPP.SEGMENTOR.NAME", "GTSegmentor"): "has no 'sem_seg_file_name', which GTSegmentor needs",
        ("MODEL.MASKCLIPPP.SEGMENTOR.NAME", "PanGTSegmentor"): "has no 'pan_seg_file_name', which PanGTSegmentor needs",
        ("MODEL.MASKCLIPPP.TEST.MASK_ACC", "True"): f"dataset '{file}' has no annotations; MODEL.MASKCLIPPP",
        (*offline, "MODEL.MASKCLIPPP.TEST.SEGMENTOR_ONLY", "True"): f"dataset '{file}' has no annotations; MODEL",
    }
    for options, message in refused.items():
        assert own.run(*options)[0] == 1
        assert message in capfd.readouterr().err.splitlines()[-1]
    assert own.run("DATASETS.TRAIN", f"('{file}',)", train=True)[0] == 1
    assert "has pictures and class names only; training needs" in capfd.readouterr().err.splitlines()[-1]
