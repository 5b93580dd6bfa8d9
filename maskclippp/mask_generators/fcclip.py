"""FC-CLIP (Yu et al. 2023) and MAFT+ (Jiao et al. 2024) as mask generators: one head for both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import nn

from maskclippp.structures import OpenClasses, TextBank
from maskclippp.utils.errors import UserError

from .build import MASK_GENERATOR_REGISTRY
from .feature_masks import FeatureMaskGenerator
from .head import MaskHead


@MASK_GENERATOR_REGISTRY.register()
class FCCLIPSegmentor(FeatureMaskGenerator):
    """Masks, and logits over the test vocabulary.

    Args:
        head: with a classifier by names.
        stride: of its finest features.
        embed_dim: width D of the CLIP that the features and the names come from.
        pretrained: a checkpoint of FC-CLIP or MAFT+; empty: random weights.

    Raises:
        UserError: the checkpoint is missing, or is of another model.
    """

    needs_text = True
    classes = OpenClasses()

    @configurable
    def __init__(self, *, head: MaskHead, stride: int, embed_dim: int, pretrained: str = "") -> None:
        super().__init__(head, stride)
        self.void_embedding = nn.Embedding(1, embed_dim)
        self.freeze(pretrained)

    @classmethod
    def from_config(cls, cfg, features: Mapping[str, ShapeSpec]) -> dict:
        """Read SEGMENTOR, SEM_SEG_HEAD and MASK_FORMER.

        Args:
            features: channels and strides of the frozen encoder's features, by name, and its width as "emb" + suffix.

        Raises:
            UserError: the encoder is no CLIP, or lacks a feature.
        """
        node, encoder = cfg.MODEL.MASKCLIPPP.SEGMENTOR, cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F
        embedding = features.get("emb" + encoder.FEATURE_SUFFIX)
        if embedding is None:
            raise UserError(
                f"SEGMENTOR.NAME FCCLIPSegmentor works on a CLIP, and VISUAL_ENCODER_F.NAME {encoder.NAME} is none; "
                "set it to CLIPConvNeXt or CLIPResNet"
            )
        embed_dim = embedding.channels
        head = MaskHead(cfg, features, node.IN_FEATURES, node.TRANSFORMER_IN_FEATURES, embed_dim)
        return {
            "head": head,
            "stride": features[head.in_features[0]].stride,
            "embed_dim": embed_dim,
            "pretrained": node.PRETRAINED,
        }

    def class_texts(self, text: TextBank | None) -> TextBank:
        """Append void as the last class, with one name."""
        width = self.void_embedding.embedding_dim
        found = None if text is None else tuple(text.embeddings.shape)
        if found is None or found[1:] != (1, width):
            raise UserError(
                f"FCCLIPSegmentor compares with one vector of {width} numbers per name, but got "
                f"{found or 'none'}; TEXT_ENCODER_F must be the text tower of the CLIP that VISUAL_ENCODER_F is of"
            )
        void = F.normalize(self.void_embedding.weight, dim=-1)[:, None].to(text.embeddings)
        return TextBank(
            embeddings=torch.cat([text.embeddings, void]),
            class_index=torch.cat([text.class_index, text.class_index.new_tensor([text.num_classes])]),
            num_classes=text.num_classes + 1,
        )
