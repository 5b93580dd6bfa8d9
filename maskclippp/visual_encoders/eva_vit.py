"""Mask-guided encoder on the EVA and EVA02 vision transformers of timm, as open_clip builds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from timm.layers import apply_rot_embed_cat, build_rotary_pos_embed
from timm.models.eva import Eva, EvaBlockPostNorm
from torch import Tensor, nn

from ..utils.errors import UserError
from ..utils.open_clip_models import create_clip, eva_model_name, eva_pretrained
from ..utils.published_names import rename, use_published_names
from .attention import resize_position_embedding, split_heads
from .base import common_options
from .build import VISUAL_ENCODER_REGISTRY
from .guided import mask_options
from .vit import MaskGuidedViT

# Names in the published checkpoints; timm's own differ.
TO_PUBLISHED = (
    (r"attn\.(q|v)_proj\.bias$", r"attn.\1_bias"),
    (r"attn\.norm\.", "attn.inner_attn_ln."),
    (r"mlp\.fc1_g\.", "mlp.w1."),
    (r"mlp\.fc1_x\.", "mlp.w2."),
    (r"mlp\.norm\.", "mlp.ffn_ln."),
)
TO_TIMM = (
    (r"attn\.inner_attn_ln\.", "attn.norm."),
    (r"mlp\.w1\.", "mlp.fc1_g."),
    (r"mlp\.w2\.", "mlp.fc1_x."),
    (r"mlp\.ffn_ln\.", "mlp.norm."),
    (r"mlp\.w3\.", "mlp.fc2."),
)
SWIGLU_TO_PUBLISHED = ((r"mlp\.fc2\.", "mlp.w3."),)
SPLIT_BIAS_TO_TIMM = ((r"attn\.(q|v)_bias$", r"attn.\1_proj.bias"),)


@VISUAL_ENCODER_REGISTRY.register()
class EVACLIPViT(MaskGuidedViT):
    """EVA02 (rotary embedding, sub-norms, SwiGLU, split projections), EVA01 (fused projection), EVA02-E (post-norm).

    Args:
        tower: ``timm.models.eva.Eva`` with a class token and a linear head; its parameters are saved under the names of
            the published checkpoints.
        options: see :class:`MaskGuidedViT` and :class:`VisualEncoder`.
    """

    @configurable
    def __init__(self, tower: Eva, **options) -> None:
        if not isinstance(tower, Eva) or tower.num_prefix_tokens != 1 or not isinstance(tower.head, nn.Linear):
            raise UserError("EVACLIPViT needs timm's Eva with one class token and a linear head")
        attention, is_swiglu = tower.blocks[0].attn, hasattr(tower.blocks[0].mlp, "fc1_g")
        self._to_published = TO_PUBLISHED + (SWIGLU_TO_PUBLISHED if is_swiglu else ())
        super().__init__(tower, num_heads=attention.num_heads, num_blocks=len(tower.blocks), **options)
        split_bias = SPLIT_BIAS_TO_TIMM if attention.qkv is None else ()
        use_published_names(self.proxy, self._to_published, TO_TIMM + split_bias)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a VISUAL_ENCODER config node."""
        name = eva_model_name(cfg.MODEL_NAME)
        tower = getattr(create_clip(name, eva_pretrained(name, cfg.PRETRAINED)).visual, "trunk", None)
        return {"tower": tower, **common_options(cfg), **mask_options(cfg)}

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks."""
        return self.proxy.blocks

    @property
    def patch_size(self) -> int:
        """Pixels along one side of a patch."""
        return self.proxy.patch_embed.patch_size[0]

    @property
    def widths(self) -> tuple[int, int]:
        """Width of the tokens and of the CLIP embedding."""
        return self.proxy.embed_dim, self.proxy.head.out_features

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches, class token, interpolated position embedding."""
        patches = self.proxy.patch_embed.proj(pixels)  # (B, C, h, w)
        grid = tuple(patches.shape[-2:])
        class_token = self.proxy.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        position = resize_position_embedding(self.proxy.pos_embed[0], self.proxy.patch_embed.grid_size, grid)
        return self.proxy.norm_pre(tokens + position.to(tokens.dtype)), grid

    def rotary(self, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """Sines and cosines (h*w, 2 * C / heads), scaled to the reference grid; None without rotary embedding."""
        rope = self.proxy.rope
        if rope is None:
            return None
        sine, cosine = build_rotary_pos_embed(
            list(grid),
            dim=self.proxy.embed_dim // self.num_heads,
            temperature=rope.temperature,
            in_pixels=rope.in_pixels,
            ref_feat_shape=list(rope.ref_feat_shape) if rope.ref_feat_shape else None,
            grid_offset=rope.grid_offset,
            grid_indexing=rope.grid_indexing,
            device=device,
        )
        return torch.cat([sine, cosine], dim=-1)

    def rotate(self, heads: Tensor, rotary: Tensor | None) -> Tensor:
        """Rotate the patch tokens; the class token stays."""
        if rotary is None:
            return heads
        return torch.cat([heads[:, :, :1], apply_rot_embed_cat(heads[:, :, 1:], rotary).to(heads)], dim=2)

    def norm_attention(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """norm1; blocks with post-norm have nothing here."""
        return tokens if isinstance(block, EvaBlockPostNorm) else block.norm1(tokens)

    def query(self, block: nn.Module, normed: Tensor) -> Tensor:
        """q_proj, or the first third of the fused projection."""
        attention = block.attn
        if attention.qkv is None:
            return split_heads(attention.q_proj(normed), self.num_heads)
        width = attention.qkv.out_features // 3
        return split_heads(F.linear(normed, attention.qkv.weight[:width], attention.q_bias), self.num_heads)

    def key_value(self, block: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor]:
        """k_proj and v_proj, or the last two thirds of the fused projection; keys have no bias."""
        attention = block.attn
        if attention.qkv is None:
            key, value = attention.k_proj(normed), attention.v_proj(normed)
        else:
            width = attention.qkv.out_features // 3
            key, value = F.linear(normed, attention.qkv.weight[width:]).chunk(2, dim=-1)
            value = value if attention.v_bias is None else value + attention.v_bias
        return split_heads(key, self.num_heads), split_heads(value, self.num_heads)

    def update(self, block: nn.Module, tokens: Tensor, attended: Tensor) -> Tensor:
        """Inner norm, output projection, MLP; both residual."""
        attended = block.attn.proj(block.attn.norm(attended))
        if isinstance(block, EvaBlockPostNorm):
            tokens = tokens + block.drop_path1(block.norm1(attended))
            return tokens + block.drop_path2(block.norm2(block.mlp(tokens)))
        tokens = tokens + block.drop_path1(attended if block.gamma_1 is None else block.gamma_1 * attended)
        expanded = block.mlp(block.norm2(tokens))
        return tokens + block.drop_path2(expanded if block.gamma_2 is None else block.gamma_2 * expanded)

    def project(self, tokens: Tensor) -> Tensor:
        """Final norm and head."""
        return self.proxy.head(self.proxy.fc_norm(self.proxy.norm(tokens)))

    def _trains(self, name: str) -> bool:
        name = rename(name, self._to_published)
        last = f"blocks.{self.num_blocks - 1}."
        after_attention = name.startswith(("norm.", "fc_norm.", "head.")) or any(
            name.startswith(last + part) for part in ("norm2.", "mlp.", "gamma_2")
        )
        return {
            "none": False,
            "all": True,
            "attention": ("attn" in name and any(part in name for part in ("q_proj", "v_proj", "qkv")))
            or "pos" in name,
            "before_proj": not after_attention,
        }[self.finetune_type]
