"""How good are generated masks, if each is given the class of the truth: the oracle study SEGMENTOR_ONLY.

The masks of an image are assigned one to one to its true segments (largest total IoU), take their classes, and are then
scored as semantic, panoptic or instance segmentation. The opposite study, true masks with predicted classes, needs no
evaluator of its own: it is the mask generator GTSegmentor or PanGTSegmentor with the usual tasks, or with
MODEL.MASKCLIPPP.TEST.MASK_ACC.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances
from torch import Tensor

from maskclippp.data.annotations import check_size, labelled_classes, read_label_map, read_panoptic_ids
from maskclippp.utils.errors import UserError

from .assignment import best_assignment, label_map_masks
from .dataset import EvaluatedDataset
from .instance import InstanceEvaluator
from .panoptic import PanopticEvaluator
from .registry import TASKS, evaluators_of
from .semantic import SemSegEvaluator
from .streaming import Scores, State, StreamingEvaluator


class AssignedClassesEvaluator(StreamingEvaluator):
    """Gives masks the classes of the truth and shows the results to the evaluators of the tasks."""

    def __init__(
        self,
        evaluators: Mapping[str, StreamingEvaluator],
        *,
        thing_ids: Collection[int] = (),
        num_classes: int | None = None,
        ignore_label: int | None = 255,
    ) -> None:
        """Take plain parts.

        Args:
            evaluators: by task, "semantic", "panoptic" or "instance".
            thing_ids: contiguous ids of the things.
            num_classes: K, to check label maps.
            ignore_label: value of unlabelled pixels in label maps.
        """
        self._evaluators = dict(evaluators)
        self._things = set(thing_ids)
        self._num_classes = num_classes
        self._ignore_label = ignore_label

    @classmethod
    def for_dataset(cls, dataset: EvaluatedDataset, on: Collection[str] = TASKS) -> AssignedClassesEvaluator:
        """Make that of a dataset.

        Args:
            dataset: with label maps, or panoptic segments.
            on: tasks to score.

        Raises:
            UserError: none of them can be scored.
        """
        makers: dict[str, type[StreamingEvaluator]] = {"semantic": SemSegEvaluator}
        if dataset.is_panoptic:
            own = {each.task: each.kind for each in evaluators_of(dataset.evaluator_type)}
            makers |= {"panoptic": PanopticEvaluator, "instance": own.get("instance", InstanceEvaluator)}
        chosen = [task for task in makers if task in on]
        if not chosen or "stuff_classes" not in dataset.metadata.as_dict():
            raise UserError(
                f"{dataset.where} has nothing that generated masks can be scored on (TEST.SEGMENTOR_ONLY) with the "
                "tasks that are on"
            )
        return cls(
            {task: makers[task].for_dataset(dataset) for task in chosen},
            thing_ids=dataset.thing_map.values(),
            num_classes=len(dataset.class_names),
            ignore_label=dataset.ignore_label,
        )

    def reset(self) -> None:
        """Forget all images."""
        for evaluator in self._evaluators.values():
            evaluator.reset()

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        """Assign and score some images.

        Args:
            inputs: records with ``sem_seg_file_name`` (semantic) or ``pan_seg_file_name`` and ``segments_info``.
            outputs: dicts with ``pred_masks``, (Q, H, W) bool, and perhaps ``uncovered_is_void``: whether pixels
                whose masks have no class, or that have none, are void in label maps, not the first class.

        Raises:
            UserError: an annotation is missing, or of another size.
        """
        makers = {"semantic": self._semantic, "panoptic": self._panoptic, "instance": self._instance}
        for record, output in zip(inputs, outputs, strict=True):
            masks = output["pred_masks"].bool().cpu()
            for task, evaluator in self._evaluators.items():
                void = {"uncovered_is_void": output.get("uncovered_is_void", False)}
                evaluator.process([record], [makers[task](record, masks) | void])

    def state_dict(self) -> State:
        """States by task."""
        return {task: evaluator.state_dict() for task, evaluator in self._evaluators.items()}

    def add_state(self, state: State) -> None:
        """Add states by task."""
        for task, evaluator in self._evaluators.items():
            evaluator.add_state(state[task])

    def score(self) -> Scores:
        """The scores of all tasks."""
        scores: Scores = OrderedDict()
        for evaluator in self._evaluators.values():
            scores |= evaluator.score()
        return scores

    def _semantic(self, record: dict[str, Any], masks: Tensor) -> dict[str, Any]:
        """Pixels without a mask are marked, but class 0, and of several masks the lowest class wins: as published."""
        labels = read_label_map(
            _file(record, "sem_seg_file_name"),
            size_hw=tuple(masks.shape[-2:]),
            num_classes=self._num_classes,
            ignore_label=self._ignore_label,
        )
        classes = labelled_classes(labels, self._ignore_label)
        result = torch.zeros(masks.shape[-2:], dtype=torch.long)
        uncovered = torch.ones(masks.shape[-2:], dtype=torch.bool)
        pairs = best_assignment(masks, label_map_masks(labels, classes))
        for mask, true in sorted(pairs, key=lambda pair: -pair[1]):
            result[masks[mask]] = int(classes[true])
            uncovered &= ~masks[mask]
        return {"sem_seg_labels": result, "sem_seg_uncovered": uncovered}

    def _panoptic(self, record: dict[str, Any], masks: Tensor) -> dict[str, Any]:
        """Masks are painted in their order, later ones over earlier ones; numbers begin at 1."""
        segments, truth = _true_segments(record, masks)
        result = torch.zeros(masks.shape[-2:], dtype=torch.int32)
        painted = []
        for number, (mask, true) in enumerate(best_assignment(masks, truth), start=1):
            result[masks[mask]] = number
            category = segments[true]["category_id"]
            painted.append({"id": number, "category_id": category, "isthing": category in self._things})
        visible = set(result.unique().tolist())
        return {"panoptic_seg": (result, [segment for segment in painted if segment["id"] in visible])}

    def _instance(self, record: dict[str, Any], masks: Tensor) -> dict[str, Any]:
        """Things only, with score 1 and the boxes of the masks."""
        segments, truth = _true_segments(record, masks)
        things = [index for index, segment in enumerate(segments) if segment["category_id"] in self._things]
        pairs = best_assignment(masks, truth[things])
        chosen = masks[[mask for mask, _ in pairs]]
        classes = [segments[things[true]]["category_id"] for _, true in pairs]
        instances = Instances(tuple(masks.shape[-2:]))
        instances.pred_masks = chosen.float()
        instances.pred_boxes = BitMasks(chosen).get_bounding_boxes()
        instances.scores = torch.ones(len(chosen))
        instances.pred_classes = torch.tensor(classes, dtype=torch.long)
        return {"instances": instances}


def _file(record: dict[str, Any], key: str) -> str:
    if key not in record:
        raise UserError(f"{record['file_name']}: masks get the classes of the truth, but this record has no {key}")
    return record[key]


def _true_segments(record: dict[str, Any], masks: Tensor) -> tuple[list[dict[str, Any]], Tensor]:
    """Return ``segments_info`` and (G, H, W) bool, crowd included."""
    path = _file(record, "pan_seg_file_name")
    ids = read_panoptic_ids(path)
    check_size(path, ids.shape, tuple(masks.shape[-2:]))
    segments = record["segments_info"]
    return segments, label_map_masks(ids, np.array([segment["id"] for segment in segments]))
