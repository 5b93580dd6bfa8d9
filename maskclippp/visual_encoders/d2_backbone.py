"""Backbones of detectron2 as frozen encoders that feed a mask generator."""

from __future__ import annotations

from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone, build_backbone

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part, finetune

from .backbone_weights import load_backbone
from .base import VisualEncoder, common_options
from .build import VISUAL_ENCODER_REGISTRY


class BackboneEncoder(VisualEncoder):
    """Gives the features of a backbone, and no embeddings; nothing trains, and it stays in evaluation mode.

    Args:
        backbone: pixels (B, 3, H, W) -> features by name, and ``output_shape()``.
        options: see :class:`VisualEncoder`; no ``out_features``: all that the backbone has.
    """

    @configurable
    def __init__(self, backbone: Backbone, **options) -> None:
        super().__init__(**options)
        self.proxy = backbone
        valid = tuple(backbone.output_shape())
        self.out_features = self.out_features or valid
        for name in self.out_features:
            if name not in valid:
                raise UserError(
                    f"OUT_FEATURES '{name}{self.feature_suffix}' of {type(self).__name__}: its backbone gives "
                    f"{', '.join(valid)}; for a ResNet see MODEL.RESNETS.OUT_FEATURES"
                )
        finetune(self.proxy, "none", lambda name: Part.OTHER)
        self.proxy.eval()

    def train(self, mode: bool = True) -> BackboneEncoder:
        """Switch mode, but not that of the frozen backbone."""
        super().train(mode)
        self.proxy.eval()
        return self

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the features, by name with suffix."""
        shapes = self.proxy.output_shape()
        return {name + self.feature_suffix: shapes[name] for name in self.out_features}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """The features of one batch."""
        features = self.proxy(batch.pixels)
        return VisualOutput(
            mask_embeddings=None, areas=None, features={name: list(features[name]) for name in self.out_features}
        )


@VISUAL_ENCODER_REGISTRY.register()
class D2Backbone(BackboneEncoder):
    """What detectron2's ``build_backbone`` makes of MODEL.BACKBONE and MODEL.RESNETS, such as ResNet-50."""

    @classmethod
    def from_config(cls, cfg, whole) -> dict:
        """Read a VISUAL_ENCODER config node, and the backbone of the whole config."""
        backbone = build_backbone(whole)
        load_backbone(backbone, cfg.PRETRAINED, settings="MODEL.RESNETS")
        return {"backbone": backbone, **common_options(cfg)}
