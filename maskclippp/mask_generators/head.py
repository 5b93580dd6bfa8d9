"""Pixel decoder and mask decoder together: the head of Mask2Former-type generators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from maskclippp.structures import TextBank
from maskclippp.utils.errors import UserError, did_you_mean

from .mask_decoder import ClosedMaskDecoder, MaskDecoder, MaskPredictions, OpenMaskDecoder
from .pixel_decoder import PixelDecoder


class MaskHead(nn.Module):
    """Feature maps of a backbone -> masks and class logits.

    Args:
        pixel_decoder, predictor: the two parts; their parameters have the published names.
        in_features: names of the maps that :meth:`forward` takes, in that order.
    """

    @configurable
    def __init__(self, *, pixel_decoder: PixelDecoder, predictor: MaskDecoder, in_features: Sequence[str]) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor
        self.in_features = tuple(in_features)

    @classmethod
    def from_config(
        cls,
        cfg,
        shapes: Mapping[str, ShapeSpec],
        in_features: Sequence[str],
        encoded_features: Sequence[str],
        embed_dim: int | None = None,
    ) -> dict:
        """Read MODEL.MASK_FORMER and MODEL.SEM_SEG_HEAD.

        Args:
            shapes: channels and strides of the backbone's maps, by name.
            in_features: maps to use; they are put in the order of ascending strides.
            encoded_features: those, the coarsest, that go through the pixel decoder's encoder.
            embed_dim: width of text embeddings for a head that classifies by names; None: a linear classifier over
                SEM_SEG_HEAD.NUM_CLASSES.

        Raises:
            UserError: features that are not there or are not the coarsest, or an option that is not supported.
        """
        former, node = cfg.MODEL.MASK_FORMER, cfg.MODEL.SEM_SEG_HEAD
        if former.PRE_NORM:
            raise UserError("MODEL.MASK_FORMER.PRE_NORM True: only norms after residuals are supported; set it False")
        order = _order(shapes, in_features, encoded_features)
        pixel_decoder = PixelDecoder(
            [shapes[name].channels for name in order],
            num_levels=len(encoded_features),
            channels=node.CONVS_DIM,
            mask_channels=node.MASK_DIM,
            num_heads=former.NHEADS,
            num_layers=node.TRANSFORMER_ENC_LAYERS,
            dropout=former.DROPOUT,
            norm=node.NORM,
        )
        options = {
            "in_channels": node.CONVS_DIM,
            "channels": former.HIDDEN_DIM,
            "mask_channels": node.MASK_DIM,
            "num_queries": former.NUM_OBJECT_QUERIES,
            "num_heads": former.NHEADS,
            "ffn_width": former.DIM_FEEDFORWARD,
            "num_layers": former.DEC_LAYERS - 1,  # the config counts predictions, and one precedes the first layer
            "num_levels": len(encoded_features),
            "enforce_projection": former.ENFORCE_INPUT_PROJ,
        }
        if embed_dim is None:
            predictor: MaskDecoder = ClosedMaskDecoder(num_classes=node.NUM_CLASSES, **options)
        else:
            predictor = OpenMaskDecoder(embed_dim=embed_dim, **options)
        return {"pixel_decoder": pixel_decoder, "predictor": predictor, "in_features": order}

    @property
    def num_queries(self) -> int:
        """Q, the masks that it finds in each picture."""
        return self.predictor.query_feat.num_embeddings

    def forward(
        self, features: Sequence[Tensor], text: TextBank | None = None, intermediate: bool = False
    ) -> list[MaskPredictions]:
        """Find masks.

        Args:
            features: maps (B, c, h, w) in the order of ascending strides (:attr:`in_features`).
            text: names of the classes for a head that classifies by names; the last class is void.
            intermediate: return all predictions of the decoder (for training) instead of the last one only.

        Returns:
            Predictions with masks at the finest stride; the last one at the end.
        """
        mask_features, levels = self.pixel_decoder(features)
        return self.predictor(levels, mask_features, text, intermediate)


def _order(shapes: Mapping[str, ShapeSpec], names: Sequence[str], encoded: Sequence[str]) -> list[str]:
    """Return ``names`` in the order of ascending strides, checked."""
    for name in (*names, *encoded):
        if name not in shapes:
            raise UserError(
                f"IN_FEATURES '{name}' is not among the features of the generator's encoder{did_you_mean(name, shapes)}"
            )
    order = sorted(names, key=lambda name: shapes[name].stride)
    if not encoded or set(order[-len(encoded) :]) != set(encoded):
        raise UserError(
            f"the features for the transformer ({', '.join(encoded) or 'none'}) must be the coarsest of IN_FEATURES "
            f"({', '.join(order)})"
        )
    return order
