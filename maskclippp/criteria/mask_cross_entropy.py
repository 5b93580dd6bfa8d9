"""Cross-entropy over masks in which every image, and every class within it, counts the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from torch import Tensor, nn

from maskclippp.utils.logging import WarnOnce
from maskclippp.utils.precision import full_precision

from .build import CRITERION_REGISTRY

logger = logging.getLogger(__name__)


def mask_weights(labels: Tensor, image_index: Tensor, balance_classes: bool) -> Tensor:
    """Return the weight of each mask, (N,) float64 (MaskCLIP++, Zeng et al. 2024, section 3.4).

    They sum to 1 in each image, so that a loss is divided by the number of images.

    Args:
        labels: (N,) long; an ignored label counts as a class of its own.
        image_index: (N,) long, the image of each mask.
        balance_classes: classes present in an image share its weight equally, masks of a class share the class's;
            else all masks of an image share its weight.
    """
    _, image_of_mask = image_index.unique(return_inverse=True)
    masks_per_image = torch.bincount(image_of_mask)
    if not balance_classes:
        return 1.0 / masks_per_image[image_of_mask].double()
    pairs = torch.stack([image_of_mask, labels], dim=1)
    distinct, pair_of_mask, masks_per_pair = pairs.unique(dim=0, return_inverse=True, return_counts=True)
    classes_per_image = torch.bincount(distinct[:, 0])
    return 1.0 / (classes_per_image[image_of_mask] * masks_per_pair[pair_of_mask]).double()


@CRITERION_REGISTRY.register()
class ReweightCELoss(nn.Module):
    """Weighted cross-entropy over the train classes.

    Args:
        temperature: logits are divided by it.
        balance_classes: see :func:`mask_weights`.
        ignore_empty: masks that vanished on the patch grid are left out before weighting.
        ignore_nan: a loss that is not a number becomes zero, with a warning.
        ignore_index: masks with this label have no loss, but count in the weights.
    """

    @configurable
    def __init__(
        self,
        *,
        temperature: float = 1.0,
        balance_classes: bool = False,
        ignore_empty: bool = False,
        ignore_nan: bool = False,
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.balance_classes = balance_classes
        self.ignore_empty = ignore_empty
        self.ignore_nan = ignore_nan
        self.ignore_index = ignore_index
        self._warn_once = WarnOnce(logger)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read the MODEL.MASKCLIPPP.CRITERION config node."""
        return {
            "temperature": cfg.TEMPERATURE,
            "balance_classes": cfg.BALANCE_CLS,
            "ignore_empty": cfg.IGNORE_EMPTY,
            "ignore_nan": cfg.IGNORE_NAN,
            "ignore_index": cfg.IGNORE_INDEX,
        }

    def count_images(self, areas: Sequence[Tensor]) -> int:
        """Return how many images have a loss: what the sum over a batch is divided by.

        Args:
            areas: of each image (Q,), sum of each mask on the patch grid.
        """
        return sum(bool((image > 0).any()) if self.ignore_empty else len(image) > 0 for image in areas)

    def forward(
        self, logits: Tensor, labels: Tensor, image_index: Tensor, areas: Tensor, divisor: float | None = None
    ) -> dict[str, Tensor]:
        """Return {"loss_ce": scalar}.

        Args:
            logits: (N, K).
            labels: (N,) long, 0 to K - 1 or the ignored one.
            image_index: (N,) long.
            areas: (N,), sum of each mask on the patch grid.
            divisor: of the sum over images, where these are a part of a batch; None: their own number.
        """
        given = len(labels)
        if self.ignore_empty:
            kept = areas > 0
            logits, labels, image_index = logits[kept], labels[kept], image_index[kept]
        self._warn_if_nothing_counts(labels, given)
        if not len(labels):
            return {"loss_ce": logits.sum() * 0.0}
        logits = full_precision(logits)
        losses = F.cross_entropy(logits / self.temperature, labels, ignore_index=self.ignore_index, reduction="none")
        images = len(image_index.unique()) if divisor is None else divisor
        loss = (losses * mask_weights(labels, image_index, self.balance_classes).to(losses)).sum() / images
        if self.ignore_nan and torch.isnan(loss):
            logger.warning("the loss of this step is not a number and counts as zero")
            loss = torch.nan_to_num(logits, nan=0.0).sum() * 0.0
        return {"loss_ce": loss}

    def _warn_if_nothing_counts(self, labels: Tensor, given: int) -> None:
        # Labels are looked at only if they may be ignored: that waits for the device.
        if len(labels) and (self.ignore_index < 0 or (labels != self.ignore_index).any()):
            return
        why = f"have the ignored label {self.ignore_index}" if len(labels) else "are smaller than the patch grid tells"
        self._warn_once(
            why,
            f"all {given} masks of this batch {why}; such a step changes nothing. This is told once: if the loss "
            "stays 0, it is so for the whole dataset",
        )
