"""LVIS and Cityscapes: tiny worlds through the official packages, and what is said without them."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Instances
from PIL import Image
from pycocotools import mask as coco_mask

from maskclippp.data.names import set_names
from maskclippp.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from maskclippp.evaluation.lvis_instances import LVIS_METRICS, LVISEvaluator
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks

CLASSES = ["road,street", "sky", "person", "car,automobile"]
LABEL_IDS = [7, 23, 24, 26]


@pytest.fixture
def city(tmp_path):
    """Two images of one city with labelIds and instanceIds, 32 x 64; records and outputs that are nearly right."""
    gt_dir, rng = tmp_path / "gtFine/val", np.random.default_rng(0)
    (gt_dir / "town").mkdir(parents=True)
    records, outputs = [], []
    for index in range(2):
        stem = f"town_00000{index}_000019"
        classes = np.zeros((32, 64), np.int64)
        classes[:16], classes[16:, 10:40], classes[20:30, 44:60] = 1, 2, 3
        labels = np.array(LABEL_IDS)[classes]
        ids = labels.copy()
        ids[classes == 2], ids[classes == 3] = 24001, 26002
        Image.fromarray(labels.astype(np.uint8)).save(gt_dir / f"town/{stem}_gtFine_labelIds.png")
        Image.fromarray(ids.astype(np.uint16)).save(gt_dir / f"town/{stem}_gtFine_instanceIds.png")
        records.append({"file_name": f"somewhere/{stem}_leftImg8bit.png"})
        predicted = np.where(rng.random(classes.shape) < 0.1, 0, classes)
        instances = Instances((32, 64))
        instances.pred_masks = torch.from_numpy(np.stack([classes == 2, predicted == 3])).float()
        instances.pred_classes, instances.scores = torch.tensor([2, 3]), torch.tensor([0.9, 0.8])
        outputs.append({"sem_seg_labels": torch.from_numpy(predicted), "instances": instances})
    return gt_dir, records, outputs


@pytest.mark.parametrize("kind", [CityscapesSemSegEvaluator, CityscapesInstanceEvaluator])
def test_cityscapes_predictions_lie_below_the_folders_of_the_cities(city, tmp_path, kind) -> None:
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    plain = kind(CLASSES, gt_dir, output_dir=tmp_path / "plain")
    plain.process(records, outputs)
    for record in records:
        record["file_name"] = f"/data/town/{Path(record['file_name']).name}"
    set_names(records, "/data", "test")
    named = kind(CLASSES, gt_dir, output_dir=tmp_path / "named")
    named.process(records, outputs)
    assert {path.parent.name for path in (tmp_path / "named").rglob("*_pred.*")} == {"town"}
    np.testing.assert_equal(named.evaluate(), plain.evaluate())


@pytest.mark.parametrize("kind", [CityscapesSemSegEvaluator, CityscapesInstanceEvaluator])
def test_cityscapes_on_one_and_two_processes(city, tmp_path, kind) -> None:
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    results = []
    for ranks in (1, 2):
        make = partial(kind, CLASSES, gt_dir, output_dir=tmp_path / f"out{ranks}")
        results.append(split_over_ranks(make, records, outputs, ranks).evaluate())
    np.testing.assert_equal(results[0], results[1])
    ((task, scores),) = results[0].items()
    if task == "sem_seg":
        classes = np.stack([output["sem_seg_labels"].numpy() for output in outputs])
        assert scores["IoU-sky"] == pytest.approx(100 * (classes == 1).sum() / (2 * 16 * 64))
        assert list(scores)[:4] == ["IoU", "iIoU", "IoU_sup", "iIoU_sup"]
    else:
        assert list(scores)[:2] == ["AP", "AP50"] and scores["AP-person"] == 100 and 0 < scores["AP-car"] < 100
    assert [path.name for path in (tmp_path / "out1").iterdir() if path.is_dir()] == []
    assert not Path("matches.json").exists()


def test_cityscapes_scores_are_those_of_score_maps(city, tmp_path) -> None:
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    maps = [
        {"sem_seg": torch.nn.functional.one_hot(output["sem_seg_labels"], 4).permute(2, 0, 1)} for output in outputs
    ]
    found = []
    for variant in (outputs, maps):
        evaluator = CityscapesSemSegEvaluator(CLASSES, gt_dir, output_dir=tmp_path / "out")
        evaluator.process(records, variant)
        found.append(evaluator.evaluate())
    np.testing.assert_equal(found[0], found[1])


def test_cityscapes_label_maps_are_kept_on_request(city, tmp_path) -> None:
    """Official ids, in the colours of the classes; the scores are those of maps that are not kept."""
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    colors = [(128, 64, 128), (70, 130, 180), (220, 20, 60), (0, 0, 142)]
    found = []
    for options in ({}, {"save_predictions": True, "colors": colors}):
        evaluator = CityscapesSemSegEvaluator(CLASSES, gt_dir, output_dir=tmp_path / "out", **options)
        evaluator.process(records, outputs)
        found.append(evaluator.evaluate())
    np.testing.assert_equal(found[0], found[1])
    folder = tmp_path / "out/sem_seg_predictions"
    names = [f"town_00000{index}_000019_leftImg8bit.png" for index in range(2)]
    assert sorted(path.name for path in folder.iterdir()) == names
    picture = Image.open(folder / names[0])
    expected = outputs[0]["sem_seg_labels"].numpy()
    assert picture.mode == "P" and (np.asarray(picture) == np.array(LABEL_IDS)[expected]).all()
    assert (np.asarray(picture.convert("RGB")) == np.array(colors)[expected]).all()
    classes = json.loads((tmp_path / "out/sem_seg_classes.json").read_text())
    assert classes[3] == {"id": 26, "name": "car", "color": [0, 0, 142]}
    assert (tmp_path / "out/sem_seg_legend.png").exists() and not (tmp_path / "out/cityscapes_sem_seg").exists()


def test_cityscapes_wrong_input(city, tmp_path) -> None:
    pytest.importorskip("cityscapesscripts", reason="needs cityscapesscripts")
    gt_dir, records, outputs = city
    with pytest.raises(UserError, match="class 'street' is no Cityscapes label"):
        CityscapesSemSegEvaluator(["street,road"], gt_dir, output_dir=tmp_path)
    evaluator = CityscapesSemSegEvaluator(CLASSES, gt_dir, output_dir=tmp_path)
    evaluator.process(records[:1], outputs[:1])
    with pytest.raises(UserError, match="Cityscapes evaluation: ERROR: Found no prediction for ground truth"):
        evaluator.evaluate()
    evaluator = CityscapesSemSegEvaluator(CLASSES, gt_dir, output_dir=tmp_path, partial=True)
    evaluator.process(records[:1], outputs[:1])
    assert evaluator.evaluate()["sem_seg"]["IoU-sky"] == pytest.approx(
        100 * (outputs[0]["sem_seg_labels"].numpy() == 1).sum() / (16 * 64)
    )
    (gt_dir / "town/town_000000_000019_gtFine_instanceIds.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n")
    with pytest.raises(UserError, match=r"_gtFine_instanceIds\.png: cannot be read as an image: it is in none of"):
        evaluator.evaluate()
    evaluator = CityscapesSemSegEvaluator(CLASSES, tmp_path / "none", output_dir=tmp_path)
    with pytest.raises(UserError, match=r"no \*/\*_gtFine_labelIds\.png in it"):
        evaluator.evaluate()


@pytest.fixture
def federated(tmp_path):
    """An LVIS file of two images and three categories of different frequency, and perfect predictions."""
    categories = [
        {"id": number, "name": name, "frequency": frequency}
        for number, name, frequency in ((1, "aerosol_can", "r"), (2, "cup", "c"), (3, "person", "f"))
    ]
    images, annotations, records, outputs = [], [], [], []
    for image in range(2):
        common = {"not_exhaustive_category_ids": [], "neg_category_ids": []}
        images.append({"id": image + 1, "height": 80, "width": 80, "coco_url": f"val/{image}.jpg", **common})
        masks = np.zeros((3, 80, 80), np.uint8)
        for index in range(3):
            masks[index, 25 * index : 25 * index + 20, 5 : 30 + 10 * image] = 1
            run = coco_mask.encode(np.asfortranarray(masks[index]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 1,
                    "category_id": index + 1,
                    "segmentation": {"size": run["size"], "counts": run["counts"].decode()},
                    "area": int(masks[index].sum()),
                    "bbox": coco_mask.toBbox(run).tolist(),
                }
            )
        instances = Instances((80, 80))
        instances.pred_masks, instances.pred_classes = torch.from_numpy(masks).float(), torch.tensor([0, 1, 1])
        instances.scores = torch.tensor([0.9, 0.8, 0.7])
        records.append({"file_name": f"{image}.jpg", "image_id": image + 1})
        outputs.append({"instances": instances})
    path = tmp_path / "lvis.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path, records, outputs


def test_lvis(federated, tmp_path) -> None:
    pytest.importorskip("lvis", reason="needs lvis")
    path, records, outputs = federated

    def make() -> LVISEvaluator:
        return LVISEvaluator(path, {1: 0, 2: 1, 3: 2}, ["spray can", "cup", "person"])

    found = split_over_ranks(make, records, outputs).evaluate()
    assert list(found) == ["segm"] and list(found["segm"])[:9] == list(LVIS_METRICS)
    content = json.loads(path.read_text())
    for number, annotation in enumerate(content["annotations"]):  # ids as other tools write them
        annotation |= {"id": number, "image_id": str(annotation["image_id"])}
        annotation.pop("area")
    path.write_text(json.dumps(content))
    np.testing.assert_equal(split_over_ranks(make, records, outputs).evaluate(), found)
    scores = found["segm"]
    # The person was called a cup, and negatives are listed for no image: that is not held against it.
    assert scores["APr"] == pytest.approx(100) and scores["APf"] == 0 and scores["AP-cup"] == pytest.approx(100)
    assert scores["AP"] == pytest.approx(200 / 3) and not hasattr(np, "float")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, a, c: i[1].pop("neg_category_ids"), r"images\[1\]: its 'neg_category_ids' is None; expected a list"),
        (lambda i, a, c: i[0].update(not_exhaustive_category_ids=[9]), r"its 'not_exhaustive_category_ids' is \[9\]"),
        (lambda i, a, c: c[2].pop("frequency"), r"category 3: its 'frequency' is None; expected 'r', 'c' or 'f'"),
        (lambda i, a, c: a[0].update(image_id=9), r"annotations\[0\]: image_id 9 is not among"),
        (lambda i, a, c: a[0].pop("segmentation"), r"annotations\[0\]: it has no mask"),
    ],
)
def test_wrong_lvis_files(federated, change, message) -> None:
    pytest.importorskip("lvis", reason="needs lvis")
    content = json.loads(federated[0].read_text())
    change(*content.values())
    federated[0].write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"lvis\.json, .*{message}"):
        LVISEvaluator(federated[0], {1: 0, 2: 1, 3: 2}, ["a", "b", "c"])


def test_missing_packages_are_told_in_one_line(monkeypatch, city, federated, tmp_path) -> None:
    for name in ("lvis", "cityscapesscripts", "cityscapesscripts.helpers.labels"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="Cityscapes evaluation needs the package cityscapesscripts .*: pip install"):
        CityscapesSemSegEvaluator(CLASSES, city[0], output_dir=tmp_path)
    with pytest.raises(UserError, match="LVIS evaluation needs the package lvis .*: pip install --no-deps lvis"):
        LVISEvaluator(federated[0], {1: 0, 2: 1, 3: 2}, ["a", "b", "c"])
