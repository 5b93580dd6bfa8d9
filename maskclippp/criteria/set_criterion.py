"""The loss of Mask2Former: a set of predictions against a set of masks (Cheng et al. 2022, sections 3.3 and 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import configurable
from torch import Tensor, nn

from maskclippp.utils.precision import full_precision

from .matching import CostWeights, MaskTargets, assign, matching_costs
from .points import sample_maps, sample_masks, uncertain_points

Pairs = list[tuple[Tensor, Tensor]]


class SetCriterion(nn.Module):
    """Matches predictions to masks; the losses are cross-entropy of classes and, at points, those of masks.

    Mask losses are binary cross-entropy and dice. Costs of matching have the weights of the losses. Each of the L
    predictions is matched for itself.

    Args:
        num_classes: K; class K means "no object".
        class_weight, mask_weight, dice_weight: of the three terms.
        no_object_weight: of class K in the cross-entropy.
        num_points: P, in matching and for each matched mask.
        oversampling, importance: see :func:`uncertain_points`.
        deep_supervision: whether all predictions are trained, or only the last.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversampling: float = 3.0,
        importance: float = 0.75,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weights = CostWeights(class_weight, mask_weight, dice_weight)
        self.num_points = num_points
        self.oversampling = oversampling
        self.importance = importance
        self.deep_supervision = deep_supervision
        label_weights = torch.ones(num_classes + 1)
        label_weights[-1] = no_object_weight
        self.no_object_weight = float(np.float32(no_object_weight))  # as rounded as the weights that are added up
        self.register_buffer("empty_weight", label_weights, persistent=False)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read MODEL.MASK_FORMER and MODEL.SEM_SEG_HEAD.NUM_CLASSES."""
        node = cfg.MODEL.MASK_FORMER
        return {
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "class_weight": node.CLASS_WEIGHT,
            "mask_weight": node.MASK_WEIGHT,
            "dice_weight": node.DICE_WEIGHT,
            "no_object_weight": node.NO_OBJECT_WEIGHT,
            "num_points": node.TRAIN_NUM_POINTS,
            "oversampling": node.OVERSAMPLE_RATIO,
            "importance": node.IMPORTANCE_SAMPLE_RATIO,
            "deep_supervision": node.DEEP_SUPERVISION,
        }

    def divisors(self, mask_counts: Sequence[int], num_queries: int) -> dict[str, float]:
        """Return what the sums over pictures are divided by; those of parts of a batch add up.

        Args:
            mask_counts: ground-truth masks of each picture.
            num_queries: Q.

        Returns:
            "labels": the class weights of all B Q queries; "masks": the number of masks.
        """
        matched = [min(count, num_queries) for count in mask_counts]
        unmatched = len(matched) * num_queries - sum(matched)
        return {"labels": sum(matched) + self.no_object_weight * unmatched, "masks": float(sum(mask_counts))}

    def forward(
        self,
        class_logits: Tensor,
        mask_embeddings: Tensor,
        mask_features: Tensor,
        targets: MaskTargets,
        divisors: Mapping[str, float | Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return weighted losses: loss_ce, loss_mask, loss_dice of the last prediction, with suffix _i of the others.

        The cross-entropy is summed over all queries, mask losses over all masks; both are divided.

        Args:
            class_logits: (L, B, Q, K + 1).
            mask_embeddings: (L, B, Q, C).
            mask_features: (B, C, h, w); a mask's logits are the product of its embedding with them.
            targets: B pictures.
            divisors: of the whole batch, see :meth:`divisors`, where the pictures are a part of one; None: their own.
        """
        if divisors is None:
            divisors = self.divisors([len(labels) for labels in targets.labels], class_logits.shape[2])
        # Without a mask the sums are 0. On the device: it may be a tensor there that the host is not to wait for.
        masks = torch.as_tensor(divisors["masks"], device=mask_features.device).clamp(min=1.0)
        if not self.deep_supervision:
            class_logits, mask_embeddings = class_logits[-1:], mask_embeddings[-1:]
        with torch.autocast(mask_features.device.type, enabled=False):
            class_logits, mask_embeddings, mask_features = map(
                full_precision, (class_logits, mask_embeddings, mask_features)
            )
            costs = matching_costs(
                class_logits,
                mask_embeddings,
                mask_features,
                targets,
                weights=self.weights,
                num_points=self.num_points,
            )
            pairs = assign(costs, [len(labels) for labels in targets.labels])
            mask_loss, dice_loss = self.mask_losses(mask_embeddings, mask_features, targets, pairs)
            losses = {
                "loss_ce": self.weights.label * self.label_losses(class_logits, targets, pairs) / divisors["labels"],
                "loss_mask": self.weights.mask * mask_loss / masks,
                "loss_dice": self.weights.dice * dice_loss / masks,
            }
        last = len(class_logits) - 1
        return {
            name if index == last else f"{name}_{index}": loss
            for name, each in losses.items()
            for index, loss in enumerate(each)
        }

    def label_losses(self, class_logits: Tensor, targets: MaskTargets, pairs: Pairs) -> Tensor:
        """Return the weighted sum of the cross-entropy over all B Q queries, (L,); one without a mask is class K."""
        labels = torch.full(class_logits.shape[:-1], self.num_classes, device=class_logits.device)  # (L, B, Q)
        for picture, (queries, chosen) in enumerate(pairs):
            labels[:, picture].scatter_(1, queries, targets.labels[picture][chosen])
        weights = self.empty_weight.to(class_logits.dtype)
        losses = F.cross_entropy(class_logits.flatten(0, 2), labels.flatten(), weights, reduction="none")
        return losses.view(len(labels), -1).sum(dim=1)

    def mask_losses(
        self, mask_embeddings: Tensor, mask_features: Tensor, targets: MaskTargets, pairs: Pairs
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of binary cross-entropy and dice loss, both (L,), of matched masks, at points of their own.

        Masks are computed for the matched queries only, for all predictions of a picture in one product.
        """
        logits, wanted = [], []
        for picture, (queries, chosen) in enumerate(pairs):
            features = mask_features[picture]
            embeddings = mask_embeddings[:, picture].gather(1, queries[..., None].expand(-1, -1, len(features)))
            masks = (embeddings.flatten(0, 1) @ features.flatten(1)).unflatten(1, features.shape[1:])  # (L G, h, w)
            points = uncertain_points(
                masks.detach(),
                self.num_points,
                oversampling=self.oversampling,
                importance=self.importance,
                draw=partial(targets.draw, picture),
            )
            at_points = sample_maps(masks[:, None], points)[:, 0]
            truth = sample_masks(targets.masks[picture], chosen.flatten(), points, targets.canvas)
            logits.append(at_points.view(*queries.shape, self.num_points))
            wanted.append(truth.view(*queries.shape, self.num_points))
        x, t = torch.cat(logits, dim=1), torch.cat(wanted, dim=1)  # (L, N, P)
        mask_loss = F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(dim=-1)
        inside = x.sigmoid()
        dice_loss = 1 - (2 * (inside * t).sum(dim=-1) + 1) / (inside.sum(dim=-1) + t.sum(dim=-1) + 1)
        return mask_loss.sum(dim=1), dice_loss.sum(dim=1)
