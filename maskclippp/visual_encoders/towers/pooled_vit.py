"""CLIP towers of timm with attention pooling by a latent query (SigLIP, SigLIP 2, PE-Core)."""

from __future__ import annotations

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part
from maskclippp.utils.open_clip_models import create_clip

from ..attention import attend, resize_position_embedding, split_heads
from .base import PoolTower, RunLayer


class LatentPoolTower(PoolTower):
    """open_clip's TimmModel around a ViT of timm whose pooling is ``AttentionPoolLatent`` with one latent."""

    module: TimmModel

    def __init__(self, module: nn.Module) -> None:
        trunk = module.trunk if isinstance(module, TimmModel) else None
        pool = trunk.attn_pool if isinstance(trunk, (VisionTransformer, Eva)) else None
        if not isinstance(pool, AttentionPoolLatent) or pool.latent_len != 1:
            raise UserError("CLIPPooledViT needs a timm ViT with attention pooling, such as SigLIP's or PE-Core's")
        super().__init__(module)
        self.num_heads = pool.num_heads

    @classmethod
    def from_node(cls, node) -> LatentPoolTower:
        """Build open_clip's model MODEL_NAME with the weights PRETRAINED."""
        return cls(create_clip(node.MODEL_NAME, node.PRETRAINED).visual)

    @property
    def trunk(self) -> nn.Module:
        """The ViT of timm."""
        return self.module.trunk

    @property
    def num_prefix(self) -> int:
        """Tokens before the patches."""
        return self.trunk.num_prefix_tokens

    @property
    def embed_dim(self) -> int:
        """Width D of the CLIP embedding."""
        head = self.trunk.head
        return head.out_features if isinstance(head, nn.Linear) else self.trunk.attn_pool.out_features

    @property
    def stride(self) -> int:
        """Pixels along one side of a patch."""
        return self.trunk.patch_embed.patch_size[0]

    def grid(self, canvas: tuple[int, int]) -> tuple[int, int]:
        """Return the number of whole patches."""
        return canvas[0] // self.stride, canvas[1] // self.stride

    def stage_shape(self, name: str) -> tuple[int, int]:
        """There are no stages."""
        raise KeyError(name)

    def tokens(self, pixels: Tensor, run: RunLayer) -> tuple[Tensor, tuple[int, int], dict[str, Tensor]]:
        """Return the tokens after the last block and its norm, (h, w), and no stages."""
        trunk = self.trunk
        patches = trunk.patch_embed.proj(pixels)
        grid = tuple(patches.shape[-2:])
        tokens = trunk.patch_embed.norm(patches.flatten(2).transpose(1, 2))
        if trunk.cls_token is not None:
            tokens = torch.cat([trunk.cls_token.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = trunk.norm_pre(tokens + self._positions(grid).to(tokens.dtype))
        rope = trunk.rope if isinstance(trunk, Eva) else None
        arguments = () if rope is None else (rotary_table(rope, grid),)
        for block in trunk.blocks:
            tokens = run(block, tokens, *arguments)
        return trunk.norm(tokens), grid, {}

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        embedding, source = self.trunk.pos_embed[0], self.trunk.patch_embed.grid_size
        if self.trunk.cls_token is not None:
            return resize_position_embedding(embedding, source, grid)
        with_room = torch.cat([embedding[:1], embedding])  # the function keeps the first row
        return resize_position_embedding(with_room, source, grid)[1:]

    def query(self, tokens: Tensor, count: int) -> Tensor:
        """Return the latent as query, (B, heads, count, C / heads)."""
        pool = self.trunk.attn_pool
        latent = pool.q_norm(split_heads(pool.q(pool.latent), self.num_heads))
        return latent.expand(len(tokens), -1, count, -1)

    def pool(self, query: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend, MLP, head."""
        pool = self.trunk.attn_pool
        key, value = (split_heads(part, self.num_heads) for part in pool.kv(tokens).chunk(2, dim=-1))
        pooled = pool.proj(attend(query, pool.k_norm(key), value, bias))
        if pool.mlp is not None:
            pooled = pooled + pool.mlp(pool.norm(pooled))
        return self.module.head(self.trunk.head(self.trunk.fc_norm(pooled)))

    def part(self, name: str) -> Part:
        """Tell projections into attention and the position embedding, and what follows the pooling's attention."""
        part = Part.OTHER
        keys = ("qkv", "q_proj", "k_proj", "v_proj", "attn_pool.q.", "attn_pool.kv.")
        if any(key in name for key in keys) or name == "trunk.pos_embed":
            part |= Part.ATTENTION
        if name.startswith(("trunk.head.", "trunk.fc_norm.", "head.", "trunk.attn_pool.mlp.")):
            part |= Part.READOUT
        return part


def rotary_table(rope: nn.Module, grid: tuple[int, int]) -> Tensor:
    """Return the rotary embedding of a timm module for another grid than its own."""
    previous = rope.feat_shape
    rope.update_feat_shape(list(grid))
    table = rope.get_embed()
    if previous is not None:
        rope.update_feat_shape(previous)
    return table
