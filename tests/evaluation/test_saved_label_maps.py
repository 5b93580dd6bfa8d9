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
from maskclippp.evaluation.saved_label_maps import saved_classes, unlabelled_value, write_label_map, write_legend
from maskclippp.evaluation.semantic import SemSegEvaluator


@pytest.mark.parametrize(("count", "mode"), [(2, "P"), (255, "P"), (256, "I;16"), (847, "I;16")])
def test_values_and_colours(tmp_path, count: int, mode: str) -> None:
    unlabelled = unlabelled_value(count, 255)
    classes = saved_classes([f"class {index}, other" for index in range(count)], unlabelled)
    labels = np.arange(count + 1).repeat(2).reshape(2, count + 1)
    write_label_map(tmp_path / "a.png", labels, classes)
    picture = Image.open(tmp_path / "a.png")
    values = np.where(labels == count, unlabelled, labels)
    assert picture.mode == mode and (read_label_map(tmp_path / "a.png") == values).all()
    if mode == "P":
        colors = np.array([each.color for each in classes])
        assert (np.asarray(picture.convert("RGB")) == colors[labels]).all()
        assert len(np.unique(colors, axis=0)) == count + 1


def test_list_and_legend(tmp_path) -> None:
    classes = saved_classes(["wall, plain", "sky $x$"], 0, [(9, 8, 7), (250, 0, 0)], [7, 23])
    write_legend(tmp_path, classes)
    assert json.loads((tmp_path / "sem_seg_classes.json").read_text()) == [
        {"id": 7, "name": "wall", "color": [9, 8, 7]},
        {"id": 23, "name": "sky $x$", "color": [250, 0, 0]},
        {"id": 0, "name": "unlabelled", "color": [0, 0, 0]},
    ]
    legend = np.asarray(Image.open(tmp_path / "sem_seg_legend.png").convert("RGB")).reshape(-1, 3)
    for color in ((9, 8, 7), (250, 0, 0)):
        assert (legend == color).all(axis=1).sum() > 100


def test_legend_of_many_classes(tmp_path) -> None:
    write_legend(tmp_path, saved_classes(["a very long name of one class among many"] * 847, 65535))
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
    assert [each["name"] for each in json.loads((tmp_path / "sem_seg_classes.json").read_text())] == [
        *"abc",
        "unlabelled",
    ]


def test_colours_are_those_of_the_dataset(tmp_path) -> None:
    name = "openvocab_pascal21_sem_seg_val"
    evaluator = build_evaluator(name, save_predictions=True, output_folder=str(tmp_path))
    assert [each.color for each in evaluator._saved_classes[:-1]] == get_metadata(name).stuff_colors
    assert saved_classes(["a", "b"], 255, [(0, 0, 0)]) == saved_classes(["a", "b"], 255)  # colours of something else


def test_pixels_without_a_class_have_a_colour_of_their_own() -> None:
    assert saved_classes(["background", "a"], 255, [(0, 0, 0), (1, 1, 1)])[-1].color == (255, 255, 255)
    assert saved_classes(["a"], 255, [(9, 9, 9)])[-1].color == (0, 0, 0)


def test_the_value_of_no_class_is_never_a_class() -> None:
    assert unlabelled_value(3, 255) == unlabelled_value(255, 255) == 255
    assert unlabelled_value(3, 200) == 200 and unlabelled_value(3, 1) == unlabelled_value(3, -1) == 255
    assert unlabelled_value(3, 65535) == unlabelled_value(847, 65535) == 65535
    assert unlabelled_value(300, 255) == unlabelled_value(256, 255) == 65535
