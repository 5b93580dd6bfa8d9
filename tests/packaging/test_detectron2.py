"""The installed detectron2 does what the project needs of it on current Python, NumPy, Pillow and torch."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from pathlib import Path

import detectron2
import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset, MetadataCatalog, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.data.build import print_instances_class_histogram
from detectron2.engine import SimpleTrainer, hooks
from detectron2.evaluation import COCOEvaluator, SemSegEvaluator
from detectron2.structures import Boxes, Instances, PolygonMasks
from detectron2.utils.visualizer import Visualizer
from PIL import Image
from torch import nn

PATCHED = (
    "data.build",
    "data.common",
    "data.datasets.pascal_voc",
    "data.transforms.transform",
    "evaluation.fast_eval_api",
    "evaluation.pascal_voc_evaluation",
    "evaluation.sem_seg_evaluation",
    "layers.deform_conv",
    "layers.roi_align_rotated",
    "layers.rotated_boxes",
    "model_zoo.model_zoo",
    "structures.masks",
    "utils.video_visualizer",
    "utils.visualizer",
)


@pytest.mark.parametrize("name", PATCHED)
def test_patched_module_imports(name):
    importlib.import_module(f"detectron2.{name}")


def test_version_is_the_same_everywhere(edits):
    if "+" not in detectron2.__version__:
        pytest.skip(f"detectron2 {detectron2.__version__} was not built by this project")
    assert detectron2.__version__ == importlib.metadata.version("detectron2") == edits.VERSION


def test_coco_evaluation_falls_back_to_pycocotools():
    from detectron2.evaluation import fast_eval_api
    from pycocotools.cocoeval import COCOeval

    if getattr(fast_eval_api, "_C", None) is not None:
        pytest.skip("this detectron2 has its compiled extension")
    assert fast_eval_api.COCOeval_opt is COCOeval


def test_model_zoo_finds_its_configs():
    from detectron2 import model_zoo

    assert Path(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")).is_file()


def test_rejected_samples_are_replaced_by_accepted_ones_in_a_repeatable_way():
    def keep_even(number: int) -> int | None:
        return None if number % 2 else number

    def draw() -> list[int]:
        dataset = MapDataset(DatasetFromList(list(range(50))), keep_even)
        return [dataset[index] for index in range(50)]

    first = draw()
    assert first[::2] == list(range(0, 50, 2))
    assert all(number % 2 == 0 for number in first)
    assert first == draw()


def test_train_loader_survives_a_mapper_that_rejects():
    records = [{"number": number, "width": 4, "height": 4} for number in range(10)]
    loader = build_detection_train_loader(
        records,
        mapper=lambda record: record if record["number"] < 3 else None,
        total_batch_size=4,
        aspect_ratio_grouping=False,
        num_workers=0,
    )
    batches = iter(loader)
    numbers = [record["number"] for _ in range(5) for record in next(batches)]
    assert len(numbers) == 20 and set(numbers) == {0, 1, 2}


def test_instance_histogram_counts(caplog):
    annotations = [{"category_id": index % 2} for index in range(7)]
    with caplog.at_level("INFO"):
        print_instances_class_histogram([{"annotations": annotations}], ["cat", "dog"])
    assert "total" in caplog.text and "7" in caplog.text


def test_resize_crop_transform_interpolates():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    half = T.ExtentTransform((0, 0, 8, 8), (4, 4)).apply_image(image)
    assert half.shape == (4, 4)
    np.testing.assert_allclose(half, image.reshape(4, 2, 4, 2).mean(axis=(1, 3)), atol=1)


def test_polygons_rasterise_to_bool():
    square = PolygonMasks([[np.array([1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0])]])
    mask = square.crop_and_resize(torch.tensor([[1.0, 1.0, 5.0, 5.0]]), 4)
    assert mask.dtype == torch.bool and mask.all()
    assert square.nonempty().tolist() == [True]


def test_visualizer_draws_a_panoptic_result():
    metadata = MetadataCatalog.get("packaging_panoptic_picture")
    metadata.set(thing_classes=["cat"], stuff_classes=["grass"], thing_colors=[(255, 0, 0)], stuff_colors=[(0, 255, 0)])
    segments = torch.ones(20, 20, dtype=torch.int32)
    segments[5:15, 5:15] = 2
    info = [{"id": 1, "isthing": False, "category_id": 0}, {"id": 2, "isthing": True, "category_id": 0}]
    drawn = Visualizer(np.zeros((20, 20, 3), dtype=np.uint8), metadata).draw_panoptic_seg(segments, info).get_image()
    MetadataCatalog.remove("packaging_panoptic_picture")
    assert drawn.shape == (20, 20, 3) and drawn[0, 0, 1] > 0


def test_semantic_evaluation_gives_the_hand_counted_iou(tmp_path):
    name = "packaging_sem_seg"
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], dtype=np.uint8)
    predicted = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]])
    Image.fromarray(truth).save(tmp_path / "truth.png")
    record = {"file_name": "picture.jpg", "sem_seg_file_name": str(tmp_path / "truth.png")}
    DatasetCatalog.register(name, lambda: [record])
    MetadataCatalog.get(name).set(stuff_classes=["a", "b"], ignore_label=255)
    try:
        evaluator = SemSegEvaluator(name, distributed=False)
        evaluator.reset()
        evaluator.process([record], [{"sem_seg": nn.functional.one_hot(predicted, 2).permute(2, 0, 1).float()}])
        result = evaluator.evaluate()["sem_seg"]
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    # Class a: 3 of 4 pixels hit, none wrong; class b: 3 hit, 1 wrong; the ignored pixel does not count.
    assert result["mIoU"] == pytest.approx(75.0)
    assert result["pACC"] == pytest.approx(100 * 6 / 7)


def test_coco_evaluation_gives_the_known_ap(tmp_path):
    """One of two objects is found exactly: precision 1 up to recall 0.5, hence 51 of the 101 recall points."""
    name = "packaging_coco"
    images = [{"id": index, "file_name": f"{index}.jpg", "width": 100, "height": 100} for index in (1, 2)]
    outline = [10.0, 10.0, 60.0, 10.0, 60.0, 60.0, 10.0, 60.0]
    annotation = {"category_id": 7, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0, "segmentation": [outline]}
    truth = {
        "info": {},
        "images": images,
        "annotations": [{**annotation, "id": index, "image_id": index} for index in (1, 2)],
        "categories": [{"id": 7, "name": "cat"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    MetadataCatalog.get(name).set(
        json_file=str(tmp_path / "truth.json"), thing_classes=["cat"], thing_dataset_id_to_contiguous_id={7: 0}
    )
    evaluator = COCOEvaluator(name, tasks=("bbox", "segm"), distributed=False, output_dir=str(tmp_path))
    evaluator.reset()
    evaluator.process([{"image_id": index} for index in (1, 2)], [{"instances": _instances(n)} for n in (1, 0)])
    result = evaluator.evaluate()
    MetadataCatalog.remove(name)
    for task in ("bbox", "segm"):
        assert result[task]["AP"] == pytest.approx(100 * 51 / 101, abs=1e-6)
        assert result[task]["AP50"] == pytest.approx(100 * 51 / 101, abs=1e-6)


def _instances(count: int) -> Instances:
    """`count` exact copies of the object that the COCO test annotates."""
    masks = torch.zeros(count, 100, 100, dtype=torch.bool)
    masks[:, 10:60, 10:60] = True
    return Instances(
        (100, 100),
        pred_boxes=Boxes(torch.tensor([[10.0, 10.0, 60.0, 60.0]]).repeat(count, 1)),
        scores=torch.full((count,), 0.9),
        pred_classes=torch.zeros(count, dtype=torch.int64),
        pred_masks=masks,
    )


class _Regression(nn.Module):
    """Squared error of a linear map; the batch is a pair of tensors."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, batch):
        inputs, targets = batch
        return {"loss": (self.linear(inputs) - targets).square().mean()}


def _train(folder: Path, start: int, stop: int) -> torch.Tensor:
    """Train from a checkpoint in `folder`, if there is one, until iteration `stop`; returns the weights."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = _Regression()
    generator = torch.Generator().manual_seed(1)
    batches = [(torch.randn(4, 3, generator=generator), torch.randn(4, 1, generator=generator)) for _ in range(stop)]
    trainer = SimpleTrainer(model, batches[start:], torch.optim.AdamW(model.parameters(), lr=0.1))
    checkpointer = DetectionCheckpointer(model, str(folder), trainer=trainer)
    checkpointer.resume_or_load("", resume=True)
    first = trainer.iter + 1 if checkpointer.has_checkpoint() else 0
    assert first == start
    trainer.register_hooks([hooks.PeriodicCheckpointer(checkpointer, 3)])
    trainer.train(first, stop)
    return model.linear.weight.detach()


def test_resumed_training_ends_where_the_unbroken_one_does(tmp_path):
    unbroken = _train(tmp_path / "unbroken", 0, 6)
    _train(tmp_path / "broken", 0, 3)
    assert torch.equal(_train(tmp_path / "broken", 3, 6), unbroken)
