"""CLIP towers of timm with attention pooling (SigLIP, SigLIP 2, PE-Core): one pooling query for each mask."""

from __future__ import annotations

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from ..structures import ImageBatch, VisualOutput
from ..utils.errors import UserError
from ..utils.freeze import train_only
from ..utils.open_clip_models import create_clip
from .attention import attend, resize_position_embedding, split_heads
from .base import common_options
from .build import VISUAL_ENCODER_REGISTRY
from .guided import MaskGuidedEncoder, mask_options
from .mask_tokens import attention_bias


@VISUAL_ENCODER_REGISTRY.register()
class CLIPPooledViT(MaskGuidedEncoder):
    """The latent query of the pooling attends, for each mask, to the patches under it (bias as for mask tokens).

    Args:
        tower: open_clip's TimmModel around a ViT of timm whose pooling is ``AttentionPoolLatent`` with one latent.
        mask_prior_beg: accepted, without effect.
        options: see :class:`MaskGuidedEncoder` and :class:`VisualEncoder`; the scale is (heads of the pooling,).
            Fine-tune type "attention": query, key and value projections, and the position embedding.
    """

    finetune_types = ("none", "all", "attention", "before_proj")

    @configurable
    def __init__(self, tower: nn.Module, *, mask_prior_beg: int = 0, **options) -> None:
        pool = getattr(getattr(tower, "trunk", None), "attn_pool", None)
        if not isinstance(pool, AttentionPoolLatent) or pool.latent_len != 1:
            raise UserError("CLIPPooledViT needs a timm ViT with attention pooling, such as SigLIP's or PE-Core's")
        super().__init__(scale_shape=(pool.num_heads,), **options)
        self.proxy = tower
        for name in self.out_features:
            if name not in ("m_embs", "i_embs"):
                raise UserError(f"OUT_FEATURES '{name}' of CLIPPooledViT: valid are m_embs, i_embs")
        train_only(self.proxy, self._trains)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a VISUAL_ENCODER config node."""
        return {"tower": create_clip(cfg.MODEL_NAME, cfg.PRETRAINED).visual, **common_options(cfg), **mask_options(cfg)}

    @property
    def trunk(self) -> nn.Module:
        """The ViT of timm."""
        return self.proxy.trunk

    @property
    def smallest_side(self) -> int:
        """One patch."""
        return self.trunk.patch_embed.patch_size[0]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return the width of the requested embeddings and of "emb"."""
        pooled = self.trunk.attn_pool.out_features
        width = getattr(self.trunk.head, "out_features", pooled)
        return {name + self.feature_suffix: ShapeSpec(channels=width) for name in ("emb", *self.out_features)}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        tokens, grid = self._tokens(batch.pixels)
        masks, guide, inside = self.on_grid(batch.masks, grid)
        bias = attention_bias(guide, inside, self.mask_logit_scale)
        patches = tokens[:, self.trunk.num_prefix_tokens :]
        embeddings = self._pool(patches, guide.shape[1], bias)
        features = {"i_embs": list(self._pool(tokens, 1)[:, 0])} if "i_embs" in self.out_features else {}
        return VisualOutput(
            mask_embeddings=[row[: len(picture)] for row, picture in zip(embeddings, masks, strict=True)],
            areas=[picture.sum(dim=(1, 2)) for picture in masks],
            features=features,
        )

    def _tokens(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, Hp, Wp) -> tokens after the last block and its norm (B, prefix + h*w, C), and (h, w)."""
        trunk = self.trunk
        patches = trunk.patch_embed.proj(pixels)
        grid = tuple(patches.shape[-2:])
        tokens = trunk.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        if trunk.cls_token is not None:
            tokens = torch.cat([trunk.cls_token.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = trunk.norm_pre(tokens + self._positions(grid).to(tokens.dtype))
        rope = getattr(trunk, "rope", None)
        arguments = () if rope is None else (rotary_table(rope, grid),)
        for block in trunk.blocks:
            tokens = self.run_layer(block, tokens, *arguments)
        return trunk.norm(tokens), grid

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        embedding, source = self.trunk.pos_embed[0], self.trunk.patch_embed.grid_size
        if self.trunk.cls_token is not None:
            return resize_position_embedding(embedding, source, grid)
        with_room = torch.cat([embedding[:1], embedding])  # the function keeps the first row
        return resize_position_embedding(with_room, source, grid)[1:]

    def _pool(self, tokens: Tensor, count: int, bias: Tensor | None = None) -> Tensor:
        """Pool tokens (B, L, C) with ``count`` copies of the latent query and project: (B, count, D)."""
        pool = self.trunk.attn_pool
        latent = pool.q(pool.latent).expand(len(tokens), count, -1)
        key, value = (split_heads(part, pool.num_heads) for part in pool.kv(tokens).chunk(2, dim=-1))
        query = pool.q_norm(split_heads(latent, pool.num_heads))
        pooled = pool.proj(attend(query, pool.k_norm(key), value, bias))
        if pool.mlp is not None:
            pooled = pooled + pool.mlp(pool.norm(pooled))
        return self.proxy.head(self.trunk.head(self.trunk.fc_norm(pooled)))

    def _trains(self, name: str) -> bool:
        projections = any(
            part in name for part in ("qkv", "q_proj", "k_proj", "v_proj", "attn_pool.q.", "attn_pool.kv.")
        )
        after_attention = name.startswith(("trunk.head.", "trunk.fc_norm.", "head.", "trunk.attn_pool.mlp."))
        return {
            "none": False,
            "all": True,
            "attention": projections or name == "trunk.pos_embed",
            "before_proj": not after_attention,
        }[self.finetune_type]


def rotary_table(rope: nn.Module, grid: tuple[int, int]) -> Tensor:
    """Return the rotary embedding of a timm module for another grid than its own."""
    previous = rope.feat_shape
    rope.update_feat_shape(list(grid))
    table = rope.get_embed()
    if previous is not None:
        rope.update_feat_shape(previous)
    return table
