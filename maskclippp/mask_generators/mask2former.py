"""Mask2Former (Cheng et al. 2022) as a mask generator."""

from __future__ import annotations

from collections.abc import Mapping

from detectron2.config import configurable
from detectron2.layers import ShapeSpec

from maskclippp.structures import ClosedClasses

from .build import MASK_GENERATOR_REGISTRY
from .feature_masks import FeatureMaskGenerator
from .head import MaskHead


@MASK_GENERATOR_REGISTRY.register()
class Mask2FormerSegmentor(FeatureMaskGenerator):
    """Masks, and logits over the classes that the generator was trained on.

    Args:
        head: with a linear classifier.
        stride: of its finest features.
        num_classes: K of the classifier, without void; 1 for a class-agnostic one.
        pretrained: a checkpoint of Mask2Former, or of our training of one; empty: random weights.

    Raises:
        UserError: the checkpoint is missing, or is of another model.
    """

    @configurable
    def __init__(self, *, head: MaskHead, stride: int, num_classes: int, pretrained: str = "") -> None:
        super().__init__(head, stride)
        self.classes = ClosedClasses(num_classes)
        self.freeze(pretrained)

    @classmethod
    def from_config(cls, cfg, features: Mapping[str, ShapeSpec]) -> dict:
        """Read SEGMENTOR, SEM_SEG_HEAD and MASK_FORMER.

        Args:
            features: channels and strides of the frozen encoder's features, by name.
        """
        node = cfg.MODEL.MASKCLIPPP.SEGMENTOR
        head = MaskHead(cfg, features, node.IN_FEATURES, node.TRANSFORMER_IN_FEATURES)
        return {
            "head": head,
            "stride": features[head.in_features[0]].stride,
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "pretrained": node.PRETRAINED,
        }
