"""Panoptic quality: hand-made cases of every rule, several processes, similarity, files, wrong input."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from checks.golden.case import read_case
from checks.golden.run import check_case
from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.evaluation.panoptic_matching import PanopticCounts, match_segments
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks


def strip(*runs: tuple[int, int]) -> np.ndarray:
    """(1, N) ids: each run is (id, length)."""
    return np.repeat([run[0] for run in runs], [run[1] for run in runs])[None].astype(np.int32)


def segment(number: int, category: int, **options) -> dict:
    return {"id": number, "category_id": category, **options}


def test_golden(shared_dir) -> None:
    report = check_case(shared_dir / "golden" / "eval_panoptic.json")
    assert report.verdict == "PASS", report


def test_iou_must_exceed_one_half_and_void_leaves_the_union() -> None:
    # 2 of 4 pixels: IoU 2 / 4 is no match; with one of the prediction's pixels on void it is 2 / 3.
    half = match_segments(strip((1, 2), (2, 2)), [segment(1, 0)], strip((1, 4)), [segment(1, 0)])
    assert (half.pairs, half.missed, half.false_alarms) == ([], [0], [0])
    void = match_segments(strip((1, 2), (2, 1), (0, 1)), [segment(1, 0)], strip((1, 4)), [segment(1, 0)])
    assert void.pairs == [(0, 0, 2 / 3, True)] and not void.missed and not void.false_alarms


def test_predictions_on_void_and_own_crowd_are_forgiven() -> None:
    gt, crowd = strip((3, 4), (0, 2)), [segment(3, 1, iscrowd=1)]
    own = match_segments(gt, crowd, strip((1, 6)), [segment(1, 1)])
    assert own.false_alarms == [] and own.missed == [] and own.pairs == []
    other = match_segments(gt, crowd, strip((1, 6)), [segment(1, 0)])
    assert other.false_alarms == [0]
    exactly_half = match_segments(strip((0, 2), (7, 2)), [], strip((1, 4)), [segment(1, 0)])
    assert exactly_half.false_alarms == [0]
    # Two crowds of one class: only the last counts.
    crowds = [segment(3, 1, iscrowd=1), segment(4, 1, iscrowd=1)]
    assert match_segments(strip((3, 5), (4, 1)), crowds, strip((1, 6)), [segment(1, 1)]).false_alarms == [1]
    assert match_segments(strip((4, 5), (3, 1)), crowds, strip((1, 6)), [segment(1, 1)]).false_alarms == []


def test_the_annotated_area_counts() -> None:
    gt = strip((1, 4))
    assert match_segments(gt, [segment(1, 0, area=4)], gt, [segment(1, 0)]).pairs[0][2] == 1
    assert match_segments(gt, [segment(1, 0, area=5)], gt, [segment(1, 0)]).pairs[0][2] == 0.8
    hidden = match_segments(gt, [segment(1, 0), segment(2, 1, area=9)], gt, [segment(1, 0)])
    assert hidden.missed == [1]


def test_a_match_under_another_name_counts_by_similarity() -> None:
    gt, pred = strip((1, 4), (2, 6)), strip((1, 3), (2, 7))
    counts = PanopticCounts(3)
    counts.add(match_segments(gt, [segment(1, 0), segment(2, 1)], pred, [segment(1, 0), segment(2, 2)]))
    similarity = np.eye(3)
    similarity[2, 1] = 0.25
    iou, credit = 6 / 7, 0.25
    np.testing.assert_allclose(counts.qualities()[:, 0], [0.75, 0, 0])
    # Class 1: TP 1/4, FN 3/4; class 2: FP 3/4.
    found = counts.qualities(similarity)
    np.testing.assert_allclose(found[1, :3], [credit * iou / (credit + 0.75 / 2), iou, credit / (credit + 0.75 / 2)])
    np.testing.assert_allclose(found[2], [0, 0, 0, 0.75])


@pytest.fixture
def golden(shared_dir, tmp_path):
    """The golden case as records and outputs, and a function that makes its evaluator."""
    case = read_case(shared_dir / "golden" / "eval_panoptic.json")
    ids = [category["id"] for category in case.meta["categories"]]
    things = [index for index, category in enumerate(case.meta["categories"]) if category["isthing"]]
    records, outputs = [], []
    for index, (truth, found) in enumerate(
        zip(case.meta["gt_annotations"], case.meta["pred_annotations"], strict=True)
    ):
        gt = case.input(f"gt_ids.{index}").numpy()
        paths = tmp_path / f"{index}.png", tmp_path / f"{index}.jpg"
        Image.fromarray(np.stack([gt & 255, gt >> 8, gt * 0], -1).astype(np.uint8)).save(paths[0])
        Image.new("RGB", gt.shape[::-1]).save(paths[1])
        here, there = (
            [part | {"category_id": ids.index(part["category_id"])} for part in each["segments_info"]]
            for each in (truth, found)
        )
        records.append({"file_name": str(paths[1]), "pan_seg_file_name": str(paths[0]), "segments_info": here})
        outputs.append({"panoptic_seg": (case.input(f"pred_ids.{index}"), there)})

    def make(**options) -> PanopticEvaluator:
        return PanopticEvaluator([f"class{i}, other" for i in range(7)], things, dataset_ids=ids, **options)

    return make, records, outputs, case.meta["expected"]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_processes_add_up_exactly(golden, ranks: int) -> None:
    make, records, outputs, expected = golden
    scores = split_over_ranks(make, records, outputs, ranks).evaluate()["panoptic_seg"]
    one = make()
    one.process(records, outputs)
    np.testing.assert_equal(scores, one.evaluate()["panoptic_seg"])
    assert list(scores)[:9] == [f"{key}{group}" for group in ("", "_th", "_st") for key in ("PQ", "SQ", "RQ")]
    assert scores["PQ_th"] == pytest.approx(100 * expected["Things"]["pq"], abs=1e-9)
    assert scores["PQ-class6, other"] == pytest.approx(100 * expected["per_class"]["61"]["pq"], abs=1e-9)
    assert math.isnan(scores["PQ-class0, other"])


def test_the_identity_gives_the_usual_numbers(golden) -> None:
    make, records, outputs, _ = golden
    evaluator = make(similarity=np.eye(7))
    evaluator.process(records, outputs)
    results = evaluator.evaluate()
    np.testing.assert_equal(dict(results["panoptic_seg_open"]), dict(results["panoptic_seg"]))


def test_files_on_request(golden, tmp_path) -> None:
    make, records, outputs, _ = golden
    folder = tmp_path / "out"
    evaluator = make(pictures=2, save_predictions=True, output_dir=str(folder))
    evaluator.process(records, outputs)
    scores = evaluator.evaluate()["panoptic_seg"]
    written = json.loads((folder / "predictions.json").read_text())
    assert written["categories"][2] == {"id": 21, "name": "class2", "isthing": 1}
    predictions = written["annotations"]
    assert [one["file_name"] for one in predictions] == ["0.png", "1.png", "2.png"]
    assert predictions[0]["segments_info"][0] == {"id": 1, "category_id": 51}
    stored = np.asarray(Image.open(folder / "panoptic_predictions/1.png"))
    assert (stored[..., 0] == outputs[1]["panoptic_seg"][0].numpy()).all()
    rows = list(csv.DictReader((folder / "panoptic_seg_evaluation.csv").open()))
    assert len(rows) == 7 and float(rows[2]["PQ"]) == scores["PQ-class2, other"] and rows[0]["PQ"] == ""
    assert {"panoptic_seg_confusion.png", "panoptic_seg_worst.png"} <= {path.name for path in folder.iterdir()}


def test_wrong_input(golden) -> None:
    make, records, outputs, _ = golden
    ids, segments = outputs[0]["panoptic_seg"]
    with pytest.raises(UserError, match=r"0\.png: 36x44 .height x width., but its image is 2x2"):
        make().process(records[:1], [{"panoptic_seg": (torch.zeros(2, 2, dtype=torch.int32), [])}])
    with pytest.raises(UserError, match=r"pixels of segment 1, which is not among its segments"):
        make().process(records[:1], [{"panoptic_seg": (ids, segments[1:])}])
    with pytest.raises(UserError, match=r"segment 77 of the prediction has no pixels"):
        make().process(records[:1], [{"panoptic_seg": (ids, [*segments, segment(77, 0)])}])
    with pytest.raises(UserError, match=r"has class 7, the dataset has 7 classes"):
        make().process(records[:1], [{"panoptic_seg": (ids, [segment(1, 7)])}])
    with pytest.raises(UserError, match="there is none"):
        make().process([{"file_name": "a.jpg"}], outputs[:1])
    with pytest.raises(UserError, match="there was no image"):
        make().evaluate()


def test_what_the_truth_lacks_is_told(tmp_path, caplog) -> None:
    Image.fromarray(np.array([[[0] * 3, [5, 0, 0], [5, 0, 0], [5, 0, 0]]], np.uint8)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "pan_seg_file_name": str(tmp_path / "a.png"), "segments_info": [segment(5, 1)]}
    outputs = [{"panoptic_seg": (torch.ones(1, 4, dtype=torch.int32), [segment(1, 1)])}] * 2
    evaluator = split_over_ranks(lambda: PanopticEvaluator(["sky", "dog"], [1]), [record] * 2, outputs)
    assert evaluator.evaluate()["panoptic_seg"]["PQ"] == 100
    (told,) = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert told.startswith("Ground truth: 1 of 2 classes occur nowhere (sky), 25.0 % of the pixels are ignored; ")
