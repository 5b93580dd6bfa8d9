"""open_clip's own vision transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part
from maskclippp.utils.open_clip_models import create_clip

from ..attention import resize_position_embedding, split_heads
from .base import BlockTower


class CLIPTower(BlockTower):
    """``open_clip.transformer.VisionTransformer`` with class-token pooling and standard residual blocks."""

    module: VisionTransformer

    def __init__(self, module: nn.Module) -> None:
        plain = isinstance(module, VisionTransformer) and module.attn_pool is None and module.pool_type == "tok"
        if not plain or not isinstance(module.transformer.resblocks[0].attn, nn.MultiheadAttention):
            raise UserError("CLIPViT needs a plain open_clip ViT: class-token pooling, nn.MultiheadAttention blocks")
        super().__init__(module)
        self.num_heads = module.transformer.resblocks[0].attn.num_heads

    @classmethod
    def from_node(cls, node) -> CLIPTower:
        """Build open_clip's model MODEL_NAME with the weights PRETRAINED."""
        tower = create_clip(node.MODEL_NAME, node.PRETRAINED).visual
        if not isinstance(tower, VisionTransformer):
            raise UserError(f"MODEL_NAME '{node.MODEL_NAME}' is not a ViT of open_clip, which CLIPViT needs")
        return cls(tower)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The residual attention blocks."""
        return self.module.transformer.resblocks

    @property
    def stride(self) -> int:
        """Pixels along one side of a patch."""
        return self.module.patch_size[0]

    @property
    def width(self) -> int:
        """Width C of the tokens."""
        return self.module.proj.shape[0]

    @property
    def embed_dim(self) -> int:
        """Width D of the CLIP embedding."""
        return self.module.proj.shape[1]

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches, class token, interpolated position embedding, first norm."""
        patches = self.module.conv1(pixels)  # (B, C, h, w)
        grid = tuple(patches.shape[-2:])
        class_token = self.module.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        position = resize_position_embedding(self.module.positional_embedding, self.module.grid_size, grid)
        return self.module.ln_pre(tokens + position.to(tokens.dtype)), grid

    def norm_attention(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """ln_1."""
        return block.ln_1(tokens)

    def query(self, block: nn.Module, normed: Tensor) -> Tensor:
        """First third of the fused projection."""
        width = normed.shape[-1]
        return split_heads(
            F.linear(normed, block.attn.in_proj_weight[:width], block.attn.in_proj_bias[:width]), self.num_heads
        )

    def key_value(self, block: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Last two thirds of the fused projection."""
        width = normed.shape[-1]
        both = F.linear(normed, block.attn.in_proj_weight[width:], block.attn.in_proj_bias[width:])
        key, value = both.chunk(2, dim=-1)
        return split_heads(key, self.num_heads), split_heads(value, self.num_heads)

    def update(self, block: nn.Module, tokens: Tensor, attended: Tensor) -> Tensor:
        """Output projection, MLP, both residual."""
        tokens = tokens + block.ls_1(block.attn.out_proj(attended))
        return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))

    def project(self, tokens: Tensor) -> Tensor:
        """ln_post and proj."""
        return self.module.ln_post(tokens) @ self.module.proj

    def part(self, name: str) -> Part:
        """Tell the part of a parameter; ln_post is ATTENTION as well, for it has "pos" in its name.

        Published checkpoints were tuned by that substring.
        """
        last = f"resblocks.{len(self.blocks) - 1}."
        part = Part.OTHER
        if ("attn" in name and "in_proj" in name) or "pos" in name:
            part |= Part.ATTENTION
        if name.startswith("ln_post.") or name == "proj":
            part |= Part.READOUT | Part.PROJECTION
        if any(last + following in name for following in ("ln_2.", "mlp.", "ls_2.")):
            part |= Part.READOUT
        return part
