"""An encoder that sees nothing: for runs whose generator needs no features."""

from __future__ import annotations

from detectron2.config import configurable
from detectron2.layers import ShapeSpec

from maskclippp.structures import ImageBatch, VisualOutput

from .base import VisualEncoder, common_options
from .build import VISUAL_ENCODER_REGISTRY


@VISUAL_ENCODER_REGISTRY.register()
class DummyVisualEncoder(VisualEncoder):
    """Only says to which size pictures would be resized."""

    @configurable
    def __init__(self, **options) -> None:
        super().__init__(**options)

    @classmethod
    def from_config(cls, cfg, whole=None) -> dict:
        """Read a VISUAL_ENCODER config node; nothing trains, whatever FINETUNE_TYPE says."""
        return common_options(cfg) | {"out_features": (), "finetune_type": "none"}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """No features."""
        return {}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """No features."""
        return VisualOutput(mask_embeddings=None, areas=None)
