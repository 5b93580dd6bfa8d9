"""Kinds of the evaluation room: metrics of stored predictions, with the ground truth read from files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskclippp.evaluation.mask_accuracy import MaskAccEvaluator
from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.evaluation.panoptic_matching import mean_quality
from maskclippp.evaluation.semantic import SemSegEvaluator

from .batches import cut_to_counts, cut_to_sizes, pictures
from .case import Case, Results, golden_kind

IGNORE_LABEL = 255


@golden_kind("eval_mask_acc")
def mask_accuracy(case: Case) -> Results:
    """Classes predicted for the classes of label maps."""
    yield from _run(case, MaskAccEvaluator(case.meta["classes"], ignore_label=_ignore_label(case)), "mask_acc")


@golden_kind("eval_mask_acc_panoptic")
def mask_accuracy_panoptic(case: Case) -> Results:
    """Classes predicted for panoptic segments."""
    yield from _run(case, MaskAccEvaluator(case.meta["classes"], panoptic=True), "mask_acc")


@golden_kind("eval_semantic")
def semantic(case: Case) -> Results:
    """Predicted label maps."""
    yield from _run(case, SemSegEvaluator(case.meta["classes"], ignore_label=_ignore_label(case)), "sem_seg")


@golden_kind("eval_panoptic", tolerance=1e-9)
def panoptic(case: Case) -> Results:
    """Predicted segments, with void and crowd."""
    classes = {category["id"]: index for index, category in enumerate(case.meta["categories"])}
    things = [classes[category["id"]] for category in case.meta["categories"] if category["isthing"]]
    evaluator = PanopticEvaluator([category["name"] for category in case.meta["categories"]], things)
    annotations = zip(case.meta["gt_annotations"], case.meta["pred_annotations"], strict=True)
    ids = zip(*(cut_to_sizes(case, pictures(case, name, 2)) for name in ("gt_ids", "pred_ids")), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        for index, ((truth, found), (gt_ids, pred_ids)) in enumerate(zip(annotations, ids, strict=True)):
            path = Path(folder) / f"{index}.png"
            _write_panoptic(path, gt_ids.numpy())
            record = {"pan_seg_file_name": str(path), "segments_info": _contiguous(truth, classes)}
            evaluator.process([record], [{"panoptic_seg": (pred_ids, _contiguous(found, classes))}])
    qualities = evaluator.qualities
    groups = {"All": range(len(classes)), "Things": things, "Stuff": sorted(set(classes.values()) - set(things))}
    rows = {name: mean_quality(qualities, members) for name, members in groups.items()}
    yield "pq_sq_rq_n", torch.tensor(list(rows.values()), dtype=torch.float64)
    expected = {name: dict(zip(("pq", "sq", "rq", "n"), row, strict=True)) for name, row in rows.items()}
    expected["per_class"] = {
        str(class_id): dict(zip(("pq", "sq", "rq"), qualities[index, :3].tolist(), strict=True))
        for class_id, index in classes.items()
    }
    yield "json.expected", expected


def _write_panoptic(path: Path, ids: np.ndarray) -> None:
    channels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1)
    Image.fromarray(channels.astype(np.uint8)).save(path)


def _contiguous(annotation: dict[str, Any], classes: dict[int, int]) -> list[dict[str, Any]]:
    return [segment | {"category_id": classes[segment["category_id"]]} for segment in annotation["segments_info"]]


def _ignore_label(case: Case) -> int:
    return case.meta.get("ignore_label", IGNORE_LABEL)


def _run(case: Case, evaluator: MaskAccEvaluator | SemSegEvaluator, task: str) -> Results:
    predictions = cut_to_counts(case, pictures(case, "pred_classes", 1)) or cut_to_sizes(
        case, pictures(case, "pred", 2)
    )
    maps = cut_to_sizes(case, pictures(case, "gt", 2))
    truths = maps or cut_to_counts(case, pictures(case, "gt_classes", 1))
    with tempfile.TemporaryDirectory() as folder:
        for index, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
            output = {"mask_cls" if task == "mask_acc" else "sem_seg_labels": prediction}
            if case.has("category_overlapping_mask"):
                output["category_overlapping_mask"] = case.input("category_overlapping_mask")
            evaluator.process([_record(truth, index, Path(folder))], [output])
    yield "confusion", torch.from_numpy(evaluator.confusion)
    yield "json.expected", evaluator.evaluate()[task]


def _record(truth: Tensor, index: int, folder: Path) -> dict[str, Any]:
    """A record of a label map (H, W), or of the classes of segments (N,)."""
    record: dict[str, Any] = {"file_name": f"image {index}"}
    if truth.dim() == 2:
        labels = truth.numpy()
        record["sem_seg_file_name"] = str(folder / f"{index}.png")
        Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(record["sem_seg_file_name"])
    else:
        record["segments_info"] = [{"id": number, "category_id": value} for number, value in enumerate(truth.tolist())]
    return record
