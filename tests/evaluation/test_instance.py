"""Instance AP: against detectron2, scattered classes, several processes, Open AP, wrong input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from pycocotools import mask as coco_mask

from maskclippp.evaluation.instance import InstanceEvaluator
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks

SIZE = 60
CATEGORIES = [3, 5, 11]
CLASS_IDS = {3: 0, 5: 1, 11: 2}
NAMES = ["cat", "dog,hound", "cow"]


def squares(rng: np.random.Generator, count: int) -> np.ndarray:
    masks = np.zeros((count, SIZE, SIZE), bool)
    for mask in masks:
        top, left = rng.integers(0, 30, 2)
        mask[top : top + rng.integers(5, 30), left : left + rng.integers(5, 30)] = True
    return masks


@pytest.fixture
def world(tmp_path):
    """A COCO file of six images, and predictions that are noisy copies of it under sometimes wrong labels."""
    rng = np.random.default_rng(0)
    images, annotations, outputs = [], [], []
    for index in range(6):
        images.append({"id": f"img{index}", "file_name": f"folder/img{index}.jpg", "height": SIZE, "width": SIZE})
        masks, labels = squares(rng, 5), rng.integers(0, 3, 5)
        for mask, label in zip(masks, labels, strict=True):
            run = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": f"img{index}",
                    "category_id": CATEGORIES[label],
                    "segmentation": {"size": run["size"], "counts": run["counts"].decode()},
                    "area": int(mask.sum()),
                    "bbox": coco_mask.toBbox(run).tolist(),
                    "iscrowd": int(len(annotations) % 13 == 12),
                }
            )
        shifted = np.roll(masks, rng.integers(0, 3), axis=1)
        instances = Instances((SIZE, SIZE))
        instances.pred_masks = torch.from_numpy(np.concatenate([shifted, squares(rng, 3)])).float()
        wrong = np.where(rng.random(5) < 0.4, rng.integers(0, 3, 5), labels)
        instances.pred_classes = torch.from_numpy(np.concatenate([wrong, rng.integers(0, 3, 3)]))
        instances.scores = torch.from_numpy(rng.random(8)).float().round(decimals=1)
        instances.pred_boxes = Boxes(torch.zeros(8, 4))
        outputs.append({"instances": instances})
    path = tmp_path / "instances.json"
    categories = [{"id": number, "name": str(number)} for number in CATEGORIES]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    records = [{"file_name": f"img{index}.jpg", "image_id": f"img{index}"} for index in range(6)]
    return path, records, outputs


def evaluated(evaluator, records, outputs) -> dict:
    evaluator.process(records, outputs)
    return evaluator.evaluate()


def test_equals_detectron2(world) -> None:
    path, records, outputs = world
    metadata = MetadataCatalog.get("test_instance_world")
    metadata.set(json_file=str(path), thing_classes=NAMES, thing_dataset_id_to_contiguous_id=CLASS_IDS)
    try:
        reference = COCOEvaluator("test_instance_world", use_fast_impl=False, distributed=False)
        reference.reset()
        expected = evaluated(reference, records, outputs)["segm"]
    finally:
        MetadataCatalog.remove("test_instance_world")
    found = evaluated(InstanceEvaluator(path, CLASS_IDS, NAMES), records, outputs)
    assert list(found) == ["segm"] and list(found["segm"]) == list(expected) and 0 < expected["AP"] < 100
    np.testing.assert_equal(found["segm"], expected)


def test_scattered_classes_other_image_ids_and_boxes(world) -> None:
    path, records, outputs = world
    plain = evaluated(InstanceEvaluator(path, CLASS_IDS, NAMES), records, outputs)
    scattered = {3: 40, 5: 7, 11: 100}
    for record, output in zip(records, outputs, strict=True):
        record["image_id"] = 17  # unknown: found by name
        classes = output["instances"].pred_classes
        output["instances"].pred_classes = torch.tensor([40, 7, 100])[classes]
        output["instances"].pred_boxes = Boxes(torch.tensor([[1.0, 1, 20, 20]]).repeat(8, 1))
    found = evaluated(InstanceEvaluator(path, scattered, ["dog,hound", "cat", "cow"]), records, outputs)
    assert list(found) == ["bbox", "segm"]
    np.testing.assert_equal({key: found["segm"][key] for key in plain["segm"]}, plain["segm"])


def test_images_that_another_file_numbers_in_another_order(world) -> None:
    path, records, outputs = world
    plain = evaluated(InstanceEvaluator(path, CLASS_IDS, NAMES), records, outputs)
    ids = [record["image_id"] for record in records]
    for record, other in zip(records, ids[1:] + ids[:1], strict=True):
        record["image_id"] = other  # of the next picture
    np.testing.assert_equal(evaluated(InstanceEvaluator(path, CLASS_IDS, NAMES), records, outputs), plain)


def test_two_ranks_give_what_one_gives(world) -> None:
    path, records, outputs = world

    def make() -> InstanceEvaluator:
        return InstanceEvaluator(path, CLASS_IDS, NAMES)

    np.testing.assert_equal(split_over_ranks(make, records, outputs).evaluate(), evaluated(make(), records, outputs))


def test_open_ap_with_the_identity_is_ap(world, tmp_path) -> None:
    path, records, outputs = world
    evaluator = InstanceEvaluator(path, CLASS_IDS, NAMES, similarity=np.eye(3), output_dir=str(tmp_path / "out"))
    found = evaluated(evaluator, records, outputs)
    same = {key: value for key, value in found["segm"].items() if key not in ("APs", "APm", "APl")}
    np.testing.assert_equal(found["segm_open"], same)
    written = json.loads((tmp_path / "out/coco_instances_results.json").read_text())
    boxes = [coco_mask.toBbox(result["segmentation"]).tolist() for result in written]
    assert [result["bbox"] for result in written] == boxes and all(map(any, boxes))  # though none were predicted
    assert {result["image_id"] for result in written} == {f"img{index}" for index in range(6)}
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"coco_instances_results.json", "instance_evaluation.csv", "segm_evaluation.json"} <= files


def test_open_ap_by_hand(world) -> None:
    """One true cat, called a dog: it is half a cat."""
    path, records, outputs = world
    content = json.loads(path.read_text())
    content["annotations"] = [one | {"iscrowd": 0} for one in content["annotations"][:1]]
    path.write_text(json.dumps(content))
    true_class = CLASS_IDS[content["annotations"][0]["category_id"]]
    other = (true_class + 1) % 3
    mask = coco_mask.decode(content["annotations"][0]["segmentation"])
    instances = Instances((SIZE, SIZE))
    instances.pred_masks = torch.from_numpy(mask)[None].float()
    instances.pred_classes, instances.scores = torch.tensor([other]), torch.tensor([0.9])
    similarity = np.eye(3)
    similarity[other, true_class] = 0.5
    evaluator = InstanceEvaluator(path, CLASS_IDS, NAMES, similarity=similarity)
    found = evaluated(evaluator, records[:1], [{"instances": instances}])
    # Precision 1 up to recall 0.5: 51 of 101 recalls.
    assert found["segm"]["AP"] == 0 and found["segm_open"]["AP"] == pytest.approx(100 * 51 / 101)
    assert math.isnan(found["segm_open"][f"AP-{NAMES[other]}"])


def test_nothing_predicted(world) -> None:
    path, records, _ = world
    empty = Instances((SIZE, SIZE))
    empty.pred_masks, empty.pred_classes, empty.scores = torch.zeros(0, SIZE, SIZE), torch.zeros(0), torch.zeros(0)
    evaluator = InstanceEvaluator(path, CLASS_IDS, NAMES, similarity=np.eye(3))
    scores = evaluated(evaluator, records, [{"instances": empty}] * 6)
    assert all(math.isnan(value) for value in scores["segm"].values())


def test_wrong_input(world, tmp_path) -> None:
    path, records, outputs = world
    with pytest.raises(UserError, match=r"img0\.jpg: predicted class 2 is no thing of .*instances\.json"):
        instances = outputs[0]["instances"]
        instances.pred_classes = torch.full((8,), 2)
        InstanceEvaluator(path, {3: 0, 5: 1, 11: 9}, NAMES).process(records[:1], outputs[:1])
    with pytest.raises(UserError, match=r"else\.jpg: .* has no such image"):
        InstanceEvaluator(path, CLASS_IDS, NAMES).process([{"file_name": "else.jpg"}], outputs[:1])
    with pytest.raises(UserError, match=r"has 3 categories, the vocabulary 2 things; they differ in ids 11"):
        InstanceEvaluator(path, {3: 0, 5: 1}, NAMES[:2])
    with pytest.raises(UserError, match=r"no instance file .*none\.json"):
        InstanceEvaluator(tmp_path / "none.json", CLASS_IDS, NAMES)
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(UserError, match=r"bad\.json: not a COCO instance file"):
        InstanceEvaluator(tmp_path / "bad.json", CLASS_IDS, NAMES)


SQUARE = [8, 8, 40, 8, 40, 40, 8, 40]


def square_world(path, change) -> dict:
    """Scores of perfect masks on a file of two images with a square each, changed."""
    images = [{"id": number, "file_name": f"{number}.jpg", "height": SIZE, "width": SIZE} for number in (1, 2)]
    whole = {"category_id": 1, "iscrowd": 0, "area": 1024, "bbox": [8, 8, 32, 32], "segmentation": [SQUARE]}
    annotations = [{"id": number, "image_id": number, **whole} for number in (1, 2)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dog"}]}
    content["annotations"] = json.loads(json.dumps(annotations))
    records = [{"file_name": f"{number}.jpg", "image_id": number} for number in (1, 2)]
    change(*content.values(), records)
    path.write_text(json.dumps(content))
    evaluator = InstanceEvaluator(path, {content["categories"][0]["id"]: 0}, ["dog"], similarity=np.eye(1))
    instances = Instances((SIZE, SIZE))
    instances.pred_masks = torch.zeros(1, SIZE, SIZE)
    instances.pred_masks[0, 8:40, 8:40] = 1
    instances.pred_classes, instances.scores = torch.tensor([0]), torch.tensor([0.9])
    return evaluated(evaluator, records, [{"instances": instances}] * 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda i, a, c, r: None,
        lambda i, a, c, r: [entry.update(id=number) for number, entry in enumerate(a)],
        lambda i, a, c, r: [entry.update(id=-1) for entry in a],
        lambda i, a, c, r: [entry.update(id=str(entry["id"]), image_id=str(entry["image_id"])) for entry in a],
        lambda i, a, c, r: [entry.update(id=str(entry["id"])) for entry in i],
        lambda i, a, c, r: [entry.update(image_id=f"000{entry['image_id']}") for entry in r],
        lambda i, a, c, r: (i[0].update(id="x"), a[0].update(image_id="x"), r[0].update(image_id="x")),
        lambda i, a, c, r: [entry.pop(key) for entry in a for key in ("id", "iscrowd", "area", "bbox")],
        lambda i, a, c, r: a[0]["segmentation"].insert(0, [8, 8, 8, 12]),
        lambda i, a, c, r: a[0]["segmentation"].append([8, 8, 8, 12, 9]),
        lambda i, a, c, r: a.append(a[0] | {"segmentation": [[]]}),
        lambda i, a, c, r: (
            [entry.update(id=0, category_id=2_000_000_000) for entry in a] and c[0].update(id=2_000_000_000)
        ),
        lambda i, a, c, r: i.append({"id": 2_000_000_000, "file_name": "none.jpg", "height": 9, "width": 9}),
    ],
)
def test_spellings_of_the_ground_truth(tmp_path, change) -> None:
    """None of them costs a match."""
    scores = square_world(tmp_path / "i.json", change)
    assert scores["segm"]["AP"] == scores["segm_open"]["AP"] == pytest.approx(100)


def test_what_is_not_covered_is_said_beside_the_scores(tmp_path, caplog) -> None:
    def without_pixel(images, annotations, categories, records) -> None:
        annotations[0]["segmentation"] = [[8, 8, 8, 12, 8, 9]]
        annotations.append(annotations[1] | {"segmentation": [[1, 2]]})

    scores = square_world(tmp_path / "i.json", without_pixel)
    assert scores["segm"]["AP"] == pytest.approx(25.2475, abs=1e-3)  # one of two, after a wrong one of equal score
    assert "left out 1 polygons" in caplog.text and "1 of 2 true masks have no pixel" in caplog.text
    caplog.clear()
    scores = square_world(tmp_path / "i.json", lambda i, a, c, r: a.clear())
    assert math.isnan(scores["segm"]["AP"]) and "has no annotations; no score is defined" in caplog.text


def test_ground_truth_is_refused_before_anything_is_evaluated(tmp_path) -> None:
    wrong = {
        r"annotations\[0\]: it has no mask": lambda i, a, c, r: a[0].pop("segmentation"),
        r"images\[1\]: id '1' is also that of": lambda i, a, c, r: i[1].update(id="1"),
        r"annotations\[0\]: image_id 3 is not among": lambda i, a, c, r: a[0].update(image_id=3),
        r"i\.json, image 1: 50x60 .* its image is 60x60": lambda i, a, c, r: i[0].update(height=50),
        r"annotations\[1\]: 30x60 .* its image is 60x60": lambda i, a, c, r: a[1].update(
            segmentation={"size": [30, 60], "counts": [1800]}
        ),
    }
    for message, change in wrong.items():
        with pytest.raises(UserError, match=message):
            square_world(tmp_path / "i.json", change)


def test_counts_in_a_list_where_nothing_was_predicted(tmp_path, caplog) -> None:
    """Then the protocol's package has not packed them."""
    path = tmp_path / "i.json"
    square_world(path, lambda i, a, c, r: a[0].update(segmentation={"size": [SIZE, SIZE], "counts": [SIZE * SIZE]}))
    evaluator = InstanceEvaluator(path, {json.loads(path.read_text())["categories"][0]["id"]: 0}, ["dog"])
    caplog.clear()
    assert math.isnan(evaluator.evaluate()["segm"]["AP"])
    records = [
        {"file_name": entry["file_name"], "image_id": entry["id"]} for entry in json.loads(path.read_text())["images"]
    ]
    nothing = Instances(
        (SIZE, SIZE), pred_masks=torch.zeros(0, SIZE, SIZE), scores=torch.zeros(0), pred_classes=torch.zeros(0)
    )
    assert math.isnan(evaluated(evaluator, records, [{"instances": nothing}] * 2)["segm"]["AP"])
    assert "1 of 2 true masks have no pixel" in caplog.text


@pytest.mark.parametrize(("area", "told"), [(0, True), (99 * 99, True), (1000, False), (1024, False), (2000, False)])
def test_areas_that_move_a_mask_among_other_sizes_are_told(tmp_path, caplog, area: int, told: bool) -> None:
    scores = square_world(tmp_path / "i.json", lambda i, a, c, r: [entry.update(area=area) for entry in a])
    assert scores["segm"]["AP"] == pytest.approx(100)
    assert ("'area' of 2 of 2 true masks" in caplog.text) == told
