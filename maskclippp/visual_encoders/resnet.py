"""CLIP ResNet: mask embeddings by masked attention pooling."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from ..structures import ImageBatch, VisualOutput
from ..utils.errors import UserError
from ..utils.freeze import train_only
from ..utils.open_clip_models import create_clip
from .attention import attend, resize_position_embedding, split_heads, to_map
from .base import common_options
from .build import VISUAL_ENCODER_REGISTRY
from .guided import MaskGuidedEncoder, mask_options
from .mask_tokens import attention_bias

LAYERS = ("layer1", "layer2", "layer3", "layer4")


@VISUAL_ENCODER_REGISTRY.register()
class CLIPResNet(MaskGuidedEncoder):
    """Attention pooling with the mean token as the query of every mask; keys and values are the spatial tokens.

    Args:
        tower: open_clip's ModifiedResNet.
        mask_prior_beg: accepted, without effect.
        options: see :class:`MaskGuidedEncoder` and :class:`VisualEncoder`; the scale is (heads,).
    """

    finetune_types = ("none", "all", "all_but_bn")

    @configurable
    def __init__(self, tower: nn.Module, *, mask_prior_beg: int = 5, **options) -> None:
        if not isinstance(tower, ModifiedResNet):
            raise UserError("CLIPResNet needs one of CLIP's own ResNets (RN50, RN101, RN50x4, RN50x16, RN50x64)")
        super().__init__(scale_shape=(tower.attnpool.num_heads,), **options)
        if self.grad_checkpointing and self.finetune_type == "all":
            raise UserError(
                "GRAD_CHECKPOINTING of CLIPResNet needs FINETUNE_TYPE all_but_bn: batch norms would count twice"
            )
        self.proxy = tower
        for name in self.out_features:
            if name not in ("m_embs", "p_embs", "i_embs", *LAYERS):
                valid = ", ".join(("m_embs", "p_embs", "i_embs", *LAYERS))
                raise UserError(f"OUT_FEATURES '{name}' of CLIPResNet: valid are {valid}")
        norms = {name for name, module in tower.named_modules() if isinstance(module, nn.BatchNorm2d)}
        train_only(
            self.proxy,
            lambda name: finetunes(self.finetune_type, is_norm=name.rpartition(".")[0] in norms),
        )

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a VISUAL_ENCODER config node."""
        tower = create_clip(cfg.MODEL_NAME, cfg.PRETRAINED).visual
        return {"tower": tower, **common_options(cfg), **mask_options(cfg)}

    def train(self, mode: bool = True) -> CLIPResNet:
        """Switch mode; batch norms that do not train keep their statistics."""
        super().train(mode)
        for module in self.proxy.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self

    @property
    def smallest_side(self) -> int:
        """The stride of the last features."""
        return 32

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the requested features and of "emb"."""
        embed_dim = self.proxy.attnpool.c_proj.out_features
        shapes = {"emb": ShapeSpec(channels=embed_dim)}
        for name in self.out_features:
            if name in LAYERS:
                channels = getattr(self.proxy, name)[-1].bn3.num_features
                shapes[name] = ShapeSpec(channels=channels, stride=4 * 2 ** LAYERS.index(name))
            else:
                shapes[name] = ShapeSpec(channels=embed_dim, stride=32 if name == "p_embs" else None)
        return {name + self.feature_suffix: shape for name, shape in shapes.items()}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        features, maps = self.proxy.stem(batch.pixels), {}
        for name in LAYERS:
            features = self.run_layer(getattr(self.proxy, name), features)
            maps[name] = features
        grid = tuple(features.shape[-2:])
        pool = self.proxy.attnpool
        tokens = self._pool_tokens(features)  # (B, 1 + h*w, C), the mean token first
        if "p_embs" in self.out_features:
            maps["p_embs"] = to_map(pool.c_proj(pool.v_proj(tokens[:, 1:])), grid)
        if "i_embs" in self.out_features:
            maps["i_embs"] = self._attend(tokens[:, :1], tokens)[:, 0]
        masks, guide, inside = self.on_grid(batch.masks, grid)
        embeddings = self._attend(
            tokens[:, :1].expand(-1, guide.shape[1], -1),
            tokens[:, 1:],
            attention_bias(guide, inside, self.mask_logit_scale),
        )
        return VisualOutput(
            mask_embeddings=[row[: len(picture)] for row, picture in zip(embeddings, masks, strict=True)],
            areas=[picture.sum(dim=(1, 2)) for picture in masks],
            features={name: list(maps[name]) for name in self.out_features if name in maps},
        )

    def _pool_tokens(self, features: Tensor) -> Tensor:
        patches = features.flatten(2).transpose(1, 2)  # (B, h*w, C)
        tokens = torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)
        embedding = self.proxy.attnpool.positional_embedding
        side = round((len(embedding) - 1) ** 0.5)
        position = resize_position_embedding(embedding, (side, side), tuple(features.shape[-2:]))
        return tokens + position.to(tokens.dtype)

    def _attend(self, queries: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        pool = self.proxy.attnpool
        heads = [
            split_heads(projected, pool.num_heads)
            for projected in (pool.q_proj(queries), pool.k_proj(tokens), pool.v_proj(tokens))
        ]
        return pool.c_proj(attend(*heads, bias))


def finetunes(finetune_type: str, *, is_norm: bool) -> bool:
    """Whether a parameter of a ResNet trains."""
    return finetune_type == "all" or (finetune_type == "all_but_bn" and not is_norm)
