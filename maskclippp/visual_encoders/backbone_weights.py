"""Weights of Swin transformers and ResNets from the files that people have."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from maskclippp.utils.checkpoint_io import compare_keys, read_checkpoint
from maskclippp.utils.errors import UserError
from maskclippp.utils.published_names import rename
from maskclippp.utils.weights import weights_are_skipped

logger = logging.getLogger(__name__)

PREFIX = "backbone."
# Follows from the window's side; counts that frozen statistics do not need.
DERIVED = re.compile(r"(^|\.)(relative_position_index|attn_mask|num_batches_tracked)$")
CLASSIFIER = re.compile(r"^(head|norm|fc|stem\.fc)\.")
STAGE_NORM = re.compile(r"^norm[0-3]\.")
TORCHVISION_TO_OWN = (
    (r"^(conv1|bn1)\.", r"stem.\1."),
    *((rf"^layer{number}\.", f"res{number + 1}.") for number in range(1, 5)),
    (r"(^|\.)bn(\d)\.", r"\1conv\2.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)


def load_backbone(backbone: nn.Module, path: str | Path, *, settings: str) -> None:
    """Fill a backbone from a file; a known file that is not there is downloaded first.

    It may be a checkpoint of Mask2Former (entries below ``backbone.``), a backbone alone under the same names, an
    ImageNet classifier of the Swin authors (whose files have no norms for the stages: they stay new), or one of
    torchvision's ResNets. Nothing is read without a path and inside
    :func:`~maskclippp.utils.weights.without_weights`.

    Args:
        backbone: with the names of Mask2Former's checkpoints.
        path: the file.
        settings: the config node that says how large the backbone is, for messages.

    Raises:
        UserError: unreadable file, or a backbone of another size or family in it.
    """
    if weights_are_skipped():
        return
    if not path:
        logger.warning("PRETRAINED is empty: the %s starts with random weights", type(backbone).__name__)
        return
    weights = read_checkpoint(path)["model"]
    part = {key.removeprefix(PREFIX): tensor for key, tensor in weights.items() if key.startswith(PREFIX)}
    alone = not part
    part = backbone_entries(weights) if alone else part
    wanted = backbone.state_dict()

    def is_needed(key: str) -> bool:
        return not DERIVED.search(key) and not (alone and STAGE_NORM.match(key))

    fit = compare_keys(wanted, part, is_needed)
    unexpected = [key for key in fit.unexpected if not DERIVED.search(key)]
    problem = ""
    if fit.mismatched:
        problem = fit.mismatched[0]
    elif fit.missing:
        problem = f"{fit.missing[0]} is not in the file ({len(fit.missing)} of {len(wanted)} are missing)"
    elif unexpected:
        problem = f"{unexpected[0]} of the file is not in the model ({len(unexpected)} such)"
    if problem:
        raise UserError(
            f"{path}: its backbone is of another size or family than {settings} says: {problem}; "
            f"set {settings} to the file's, or name another file"
        )
    backbone.load_state_dict({key: part[key] for key in fit.matched}, strict=False)


def backbone_entries(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of an ImageNet classifier that belong to its backbone, under our names."""
    kept = {key: tensor for key, tensor in weights.items() if not CLASSIFIER.match(key)}
    if "layer1.0.conv1.weight" in kept:
        return {rename(key, TORCHVISION_TO_OWN): tensor for key, tensor in kept.items()}
    return kept
