"""A training step and an evaluation of each kind on datasets that a file of one's own describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from maskclippp.engine.main import main
from maskclippp.toy.writer import make_world

SMALL = [
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.CROP.SIZE", "[64, 64]", "INPUT.SIZE_DIVISIBILITY", "64"),
]
TASKS = "MODEL.MASK_FORMER.TEST"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """The toy world, described by three files: label maps, panoptic segments, instances."""
    folder = make_world(
        tmp_path_factory.mktemp("data"), counts={"train": 2, "val": 2, "test": 0}, workers=1, show_progress=False
    )
    images, labels = {"images": "images/validation"}, {"labels": "annotations_detectron2/validation"}
    instances, panoptic = {"instances": "instance_val.json"}, {"panoptic": "panoptic_val.json"}
    files = {
        "labels.yaml": images | labels | {"classes": "toy_96"},
        "panoptic.yaml": images | panoptic | labels | instances,
        "instances.json": images | instances,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content) if name.endswith("json") else yaml.safe_dump(content))
    yield folder
    for name in [name for name in DatasetCatalog.list() if name.startswith(str(folder))]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.mark.parametrize(
    ("file", "mapper", "tasks", "metrics"),
    [
        ("labels.yaml", "semantic", ["SEMANTIC"], {"sem_seg": "mIoU"}),
        ("panoptic.yaml", "panoptic", ["SEMANTIC", "PANOPTIC"], {"sem_seg": "mIoU", "panoptic_seg": "PQ"}),
        ("instances.json", "instance", ["INSTANCE"], {"segm": "AP"}),
    ],
)
def test_train_and_evaluate(world, root_dir, tmp_path, capfd, file, mapper, tasks, metrics) -> None:
    name = str(world / file)
    switches = [item for task in ("SEMANTIC", "PANOPTIC", "INSTANCE") for item in (f"{TASKS}.{task}_ON", task in tasks)]
    masks = "GTSegmentor"
    if mapper != "semantic":
        masks = "PanGTSegmentor"
    if mapper == "instance":  # its records hold neither label maps nor segments: masks from the pictures themselves
        masks = "OfflineSegmentor"
    status = main(
        [
            *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"), "--num-gpus", "0"),
            *("--tag", "own", "OUTPUT_DIR", str(tmp_path), "DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", name),
            *("INPUT.DATASET_MAPPER_NAME", f"mask_former_{mapper}", "MODEL.MASKCLIPPP.SEGMENTOR.NAME", masks),
            *("MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR", str(world / "annotations_detectron2/validation")),
            *("MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_SUFFIX", ".png"),
            *SMALL,
            *map(str, switches),
        ]
    )
    assert status == 0, capfd.readouterr().err
    folder = tmp_path / "maskclippp_toy_clip-vit" / "own" / "inference"
    found = json.loads((folder / "results.json").read_text())[name]
    for task, metric in metrics.items():
        assert 0 <= found[task][metric] <= 100
    assert (folder / name.strip("/").replace("/", "_")).is_dir() and not Path(name).is_dir()
