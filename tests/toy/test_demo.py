"""The runs that the demo plans, and the page that it writes."""

from __future__ import annotations

import numpy as np
import pytest

from maskclippp.toy import demo
from maskclippp.toy.experiment import (
    CONFIG,
    CONFIG_WITH_GENERATOR,
    GENERATOR_CONFIG,
    Experiment,
    configure,
    evaluations,
)
from maskclippp.toy.gallery import ZOOM, GalleryEntry, SegmentedScene, paint, paint_labels
from maskclippp.toy.report import Report, render, text_table

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.fixture
def runs(tmp_path) -> list[Experiment]:
    """The original CLIP and one training."""
    tests = ("mask_accuracy", "ground_truth_masks", "felzenszwalb_masks")
    common = {"tests": tests, "masks": str(tmp_path), "gallery": 1}
    return [
        Experiment("original CLIP", str(tmp_path / "original"), **common),
        Experiment("tuned", str(tmp_path / "seed0"), seed=0, iterations=7, **common),
    ]


def test_every_evaluation_is_a_valid_config(runs, tmp_path):
    args = demo.parse_arguments(None, ["--output", str(tmp_path), "--generator-iterations", "9"])
    generator = demo.generator_run(args)
    planned = [*runs, generator, *demo.with_generator(runs, generator)]
    found = {}
    for run in planned:
        assert Experiment.load(run.save()) == run
        for name, overrides in evaluations(run).items():
            found[run.name, name] = configure(run, *overrides)
    assert len(found) == 9
    assert found["tuned", "mask_accuracy"].SOLVER.MAX_ITER == 7
    assert found["mask generator", "masks_alone"].SOLVER.MAX_ITER == 9
    assert found["mask generator", "masks_alone"].MODEL.META_ARCHITECTURE == "Mask2Former"
    ours = found["tuned, generated masks", "generated_masks"].MODEL.MASKCLIPPP
    assert ours.SEGMENTOR.PRETRAINED == ours.VISUAL_ENCODER_F.PRETRAINED == str(tmp_path / "generator/model_final.pth")
    assert ours.PSM.NAME == "LinearPSM"
    assert found["original CLIP, generated masks", "generated_masks"].MODEL.MASKCLIPPP.PSM.NAME == "DummyPSM"
    assert planned[-1].weights == str(tmp_path / "seed0/model_final.pth") and planned[-2].weights == ""
    assert [run.config for run in planned] == [CONFIG] * 2 + [GENERATOR_CONFIG] + [CONFIG_WITH_GENERATOR] * 2


def test_rows_of_the_table():
    tasks = {"mIoU": 1.0, "mIoU(U)": 2.0, "PQ": 3.0, "AP": 4.0}
    accuracy = {"mMaskAcc(S)": 1.0, "mMaskAcc(U)": 2.0, "mMaskAcc(U|U)": 3.0}
    before = {
        "mask_accuracy": accuracy,
        "ground_truth_masks": tasks,
        "felzenszwalb_masks": tasks,
        "generated_masks": tasks,
    }
    after = {name: {key: value + 30 for key, value in metrics.items()} for name, metrics in before.items()}
    rows = [*demo.main_rows(before, [after] * 2), *demo.generator_rows(before, [after] * 2)]
    assert len(rows) == 13 and all(row.met and row.gain == 30 for row in rows)
    assert {row.name for row in rows if row.margin} == {
        "mask accuracy, seen classes",
        "mask accuracy, unseen classes",
        "mask accuracy, unseen among unseen",
        "mIoU, felzenszwalb masks",
        "mIoU, generated masks",
    }
    assert text_table(rows).count("\n") == 13


def test_painted_labels():
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.zeros((4, 6), np.uint8)
    labels[:, 3:] = 2
    labels[0] = 255
    picture = paint_labels(image, labels, COLORS, ignore=255)
    assert picture.shape == (4 * ZOOM, 6 * ZOOM, 3)
    assert (picture[-1, 0] == (200, 35, 35)).all() and (picture[-1, -1] == (35, 35, 200)).all()
    assert (picture[0, 0] == 40).all()
    entry = GalleryEntry(image, labels, (0, 2), before=(0, 2), after=(1, 1))
    assert (paint(entry, entry.before, COLORS) == picture).all()
    renamed = paint(entry, entry.after, COLORS)
    assert (renamed[-1, 0] == (35, 200, 35)).all() and (renamed[-1, -1] == (35, 200, 35)).all()
    assert ((renamed == 255).all(-1) == (picture == 255).all(-1)).all()


def test_page_with_generated_masks():
    truth = np.zeros((20, 20), np.uint8)
    truth[:, 10:] = 1
    wrong = np.where(truth == 1, 2, 0).astype(np.uint8)
    wrong[0, 0] = 1
    scene = SegmentedScene(np.zeros((20, 20, 3), np.uint8), truth, before=wrong, after=truth)
    report = Report("title", "summary", [], [], {}, ["red", "green", "<blue>"], [], [scene], ["note"])
    page = render(report)
    assert "Gallery: generated masks" in page and "100 % of pixels right" in page and "50 % of pixels right" in page
    assert page.count("&lt;blue&gt;") == 1 and page.count("chip wrong") == 3  # one in each help text, one in the scene
