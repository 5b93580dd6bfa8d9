"""Class logits and masks of one image -> task results; pure functions without state."""

from .class_logits import (
    add_void,
    closed_to_test_logits,
    combine_logits,
    geometric_ensemble,
    mask_classes,
    object_scores,
    train_to_test_lookup,
)
from .coverage import uncovered_pixels
from .instance import binary_masks, instance_inference
from .panoptic import panoptic_inference
from .semantic import class_probabilities, semantic_labels, semantic_scores
from .tasks import TaskInference, output_size
from .transformers_rules import oneformer_instances, transformers_instances, transformers_panoptic

__all__ = [
    "TaskInference",
    "add_void",
    "binary_masks",
    "class_probabilities",
    "closed_to_test_logits",
    "combine_logits",
    "geometric_ensemble",
    "instance_inference",
    "mask_classes",
    "object_scores",
    "oneformer_instances",
    "output_size",
    "panoptic_inference",
    "semantic_labels",
    "semantic_scores",
    "train_to_test_lookup",
    "transformers_instances",
    "transformers_panoptic",
    "uncovered_pixels",
]
