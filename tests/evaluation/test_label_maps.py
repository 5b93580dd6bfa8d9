"""Saved label maps: values and colours, the list of classes, the legend."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from maskclippp.data.annotations import read_label_map
from maskclippp.data.datasets import get_metadata
from maskclippp.evaluation.build import build_evaluator
from maskclippp.evaluation.label_maps import saved_classes, write_label_map, write_legend
from maskclippp.evaluation.semantic import SemSegEvaluator


@pytest.mark.parametrize(("count", "mode"), [(2, "P"), (256, "P"), (257, "I;16"), (847, "I;16")])
def test_values_and_colours(tmp_path, count: int, mode: str) -> None:
    classes = saved_classes([f"class {index}, other" for index in range(count)])
    labels = np.arange(count).repeat(2).reshape(2, count)
    write_label_map(tmp_path / "a.png", labels, classes)
    picture = Image.open(tmp_path / "a.png")
    assert picture.mode == mode and (read_label_map(tmp_path / "a.png") == labels).all()
    if mode == "P":
        colors = np.array([each.color for each in classes])
        assert (np.asarray(picture.convert("RGB")) == colors[labels]).all()
        assert len(np.unique(colors, axis=0)) == count


def test_list_and_legend(tmp_path) -> None:
    classes = saved_classes(["wall, plain", "sky $x$"], [(9, 8, 7), (250, 0, 0)], [7, 23])
    write_legend(tmp_path, classes)
    assert json.loads((tmp_path / "sem_seg_classes.json").read_text()) == [
        {"id": 7, "name": "wall", "color": [9, 8, 7]},
        {"id": 23, "name": "sky $x$", "color": [250, 0, 0]},
    ]
    legend = np.asarray(Image.open(tmp_path / "sem_seg_legend.png").convert("RGB")).reshape(-1, 3)
    for color in ((9, 8, 7), (250, 0, 0)):
        assert (legend == color).all(axis=1).sum() > 100


def test_legend_of_many_classes(tmp_path) -> None:
    write_legend(tmp_path, saved_classes(["a very long name of one class among many"] * 847))
    width, height = Image.open(tmp_path / "sem_seg_legend.png").size
    assert 600 < height < 1200 and 3000 < width < 9000


def test_evaluator_writes_them(label_file, tmp_path) -> None:
    colors = [(1, 2, 3), (40, 50, 60), (200, 0, 0)]
    evaluator = SemSegEvaluator(["a", "b,x", "c"], save_predictions=True, colors=colors, output_dir=str(tmp_path))
    labels = torch.tensor([[0, 0, 2], [2, 2, 1]])
    evaluator.process([{"file_name": "legend.jpg", "sem_seg_file_name": str(label_file)}], [{"sem_seg_labels": labels}])
    evaluator.evaluate()
    folder = tmp_path / "sem_seg_predictions"
    assert sorted(path.name for path in folder.iterdir()) == ["legend.png"]
    assert (read_label_map(folder / "legend.png", num_classes=3) == labels.numpy()).all()
    assert (np.asarray(Image.open(folder / "legend.png").convert("RGB")) == np.array(colors)[labels]).all()
    assert [each["name"] for each in json.loads((tmp_path / "sem_seg_classes.json").read_text())] == ["a", "b", "c"]


def test_colours_are_those_of_the_dataset(tmp_path) -> None:
    name = "openvocab_pascal21_sem_seg_val"
    evaluator = build_evaluator(name, save_predictions=True, output_folder=str(tmp_path))
    assert [each.color for each in evaluator._saved_classes] == get_metadata(name).stuff_colors
    assert saved_classes(["a", "b"], [(0, 0, 0)]) == saved_classes(["a", "b"])  # colours of something else
