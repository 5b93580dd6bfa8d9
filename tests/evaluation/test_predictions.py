"""Saved predictions: pictures of equal stems have files of their own; pictures without annotations are predicted on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from PIL import Image

from maskclippp.data.names import set_names
from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.evaluation.predictions import PredictionWriter
from maskclippp.evaluation.semantic import SemSegEvaluator
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks

CLASSES = ["sky", "dog", "cat"]
PICTURES = ["seq1/1.jpg", "seq2/1.jpg", "2.jpg", "2.png"]
OUTPUTS = ["2.jpg.png", "2.png.png", "seq1/1.png", "seq2/1.png"]


@pytest.fixture
def world(tmp_path):
    """Records of four pictures in folders, and outputs of all tasks: picture i is of class i modulo 3."""
    records = [{"file_name": f"/data/{name}"} for name in PICTURES]
    set_names(records, "/data", "test")
    outputs = []
    for number in range(len(records)):
        label = number % 3
        mask = torch.zeros(1, 4, 6)
        mask[:, 1:3, 2:6] = 1
        instances = Instances((4, 6), pred_masks=mask, scores=torch.tensor([0.5]), pred_classes=torch.tensor([label]))
        segments = [{"id": 1, "category_id": label, "isthing": True}]
        panoptic = (torch.ones(4, 6, dtype=torch.int32), segments)
        labels = torch.full((4, 6), label)
        outputs.append({"sem_seg_labels": labels, "panoptic_seg": panoptic, "instances": instances})
    return records, outputs


def files(folder) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_without_annotations(world, tmp_path, ranks) -> None:
    def make() -> PredictionWriter:
        return PredictionWriter(CLASSES, [7, 8, 9], thing_ids=[1, 2], output_dir=str(tmp_path))

    found = split_over_ranks(make, *world, ranks)
    assert found.score() == {"predictions": {"images": 4.0}}
    assert files(tmp_path / "sem_seg_predictions") == files(tmp_path / "panoptic_predictions") == OUTPUTS
    assert (np.asarray(Image.open(tmp_path / "sem_seg_predictions/seq2/1.png")) == 1).all()
    content = json.loads((tmp_path / "predictions.json").read_text())
    annotations = content["annotations"]
    assert content["categories"][:2] == [{"id": 7, "name": "sky", "isthing": 0}, {"id": 8, "name": "dog", "isthing": 1}]
    assert [one["file_name"] for one in annotations] == OUTPUTS
    assert annotations[3] == {
        "image_id": "seq2/1",
        "file_name": "seq2/1.png",
        "segments_info": [{"id": 1, "category_id": 8}],
    }
    results = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert [(one["image_id"], one["category_id"]) for one in results] == [
        ("2.jpg", 9),
        ("2.png", 7),
        ("seq1/1.jpg", 7),
        ("seq2/1.jpg", 8),
    ]
    assert results[0]["bbox"] == [2, 1, 4, 2] and results[0]["score"] == 0.5


def test_only_the_tasks_that_are_on(world, tmp_path) -> None:
    records, outputs = world
    writer = PredictionWriter(CLASSES, [0, 1, 2], output_dir=str(tmp_path))
    scores = torch.zeros(3, 4, 6)
    scores[2] = 1
    uncovered = torch.zeros(4, 6, dtype=torch.bool)
    uncovered[0] = True
    writer.process(records[:1], [{"sem_seg": scores, "sem_seg_uncovered": uncovered}])
    writer.score()
    legend = ["sem_seg_classes.json", "sem_seg_legend.png", "sem_seg_predictions"]
    assert sorted(path.name for path in tmp_path.iterdir()) == legend
    saved = Image.open(tmp_path / "sem_seg_predictions/seq1/1.png")
    assert saved.mode == "P" and (np.asarray(saved)[1:] == 2).all() and (np.asarray(saved)[0] == 255).all()
    with pytest.raises(UserError, match="there is nothing to write; switch on one of"):
        writer.process(records[:1], [{"category_overlapping_mask": None}])
    writer.reset()
    with pytest.raises(UserError, match="there was no picture to predict on"):
        writer.score()
    with pytest.raises(UserError, match="give an output folder"):
        PredictionWriter(CLASSES, [0, 1, 2], output_dir=None)


def test_evaluators_keep_pictures_of_equal_stems_apart(world, tmp_path) -> None:
    records, outputs = world
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "labels.png")
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "ids.png")
    for record in records:
        record |= {"sem_seg_file_name": str(tmp_path / "labels.png"), "pan_seg_file_name": str(tmp_path / "ids.png")}
        record["segments_info"] = []
    folder = tmp_path / "out"
    for make in (SemSegEvaluator, lambda names, **options: PanopticEvaluator(names, [1, 2], **options)):
        evaluator = make(CLASSES, save_predictions=True, output_dir=str(folder))
        evaluator.process(records, outputs)
        evaluator.evaluate()
    assert files(folder / "sem_seg_predictions") == files(folder / "panoptic_predictions") == OUTPUTS
    assert len(json.loads((folder / "predictions.json").read_text())["annotations"]) == 4
