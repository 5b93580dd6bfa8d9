"""The EVA and EVA02 vision transformers of timm, as open_clip builds them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import apply_rot_embed_cat, build_rotary_pos_embed
from timm.models.eva import Eva, EvaBlockPostNorm
from torch import Tensor, nn

from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part
from maskclippp.utils.open_clip_models import create_clip, eva_model_name, eva_pretrained
from maskclippp.utils.published_names import rename, use_published_names

from ..attention import resize_position_embedding, split_heads
from .base import BlockTower

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


class EVATower(BlockTower):
    """EVA02 (rotary embedding, sub-norms, SwiGLU, split projections), EVA01 (fused projection), EVA02-E (post-norm).

    The parameters of the module, a ``timm.models.eva.Eva`` with a class token and a linear head, are saved under the
    names of the published checkpoints.
    """

    module: Eva

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, Eva) or module.num_prefix_tokens != 1 or not isinstance(module.head, nn.Linear):
            raise UserError("EVACLIPViT needs timm's Eva with one class token and a linear head")
        super().__init__(module)
        attention, is_swiglu = module.blocks[0].attn, hasattr(module.blocks[0].mlp, "fc1_g")
        self.num_heads = attention.num_heads
        self._to_published = TO_PUBLISHED + (SWIGLU_TO_PUBLISHED if is_swiglu else ())
        split_bias = SPLIT_BIAS_TO_TIMM if attention.qkv is None else ()
        use_published_names(module, self._to_published, TO_TIMM + split_bias)

    @classmethod
    def from_node(cls, node) -> EVATower:
        """Build the EVA-CLIP model MODEL_NAME with the weights PRETRAINED."""
        name = eva_model_name(node.MODEL_NAME)
        visual = create_clip(name, eva_pretrained(name, node.PRETRAINED)).visual
        return cls(visual.trunk if isinstance(visual, TimmModel) else visual)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks."""
        return self.module.blocks

    @property
    def stride(self) -> int:
        """Pixels along one side of a patch."""
        return self.module.patch_embed.patch_size[0]

    @property
    def width(self) -> int:
        """Width C of the tokens."""
        return self.module.embed_dim

    @property
    def embed_dim(self) -> int:
        """Width D of the CLIP embedding."""
        return self.module.head.out_features

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches, class token, interpolated position embedding."""
        patches = self.module.patch_embed.proj(pixels)  # (B, C, h, w)
        grid = tuple(patches.shape[-2:])
        class_token = self.module.cls_token.to(patches.dtype).expand(len(patches), -1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        position = resize_position_embedding(self.module.pos_embed[0], self.module.patch_embed.grid_size, grid)
        return self.module.norm_pre(tokens + position.to(tokens.dtype)), grid

    def rotary(self, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """Sines and cosines (h*w, 2 * C / heads), scaled to the reference grid; None without rotary embedding."""
        rope = self.module.rope
        if rope is None:
            return None
        sine, cosine = build_rotary_pos_embed(
            list(grid),
            dim=self.module.embed_dim // self.num_heads,
            temperature=rope.temperature,
            in_pixels=rope.in_pixels,
            ref_feat_shape=list(rope.ref_feat_shape) if rope.ref_feat_shape else None,
            grid_offset=rope.grid_offset,
            grid_indexing=rope.grid_indexing,
            device=device,
        )
        return torch.cat([sine, cosine], dim=-1)

    def rotate(self, heads: Tensor, rotary: Tensor | None) -> Tensor:
        """Rotate the patch tokens; a class token before them stays."""
        if rotary is None:
            return heads
        before = heads.shape[2] - len(rotary)
        return torch.cat([heads[:, :, :before], apply_rot_embed_cat(heads[:, :, before:], rotary).to(heads)], dim=2)

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
        return self.module.head(self.module.fc_norm(self.module.norm(tokens)))

    def part(self, name: str) -> Part:
        """Tell the part of a parameter; keys are no ATTENTION, as published checkpoints were tuned."""
        name = rename(name, self._to_published)
        last = f"blocks.{len(self.blocks) - 1}."
        part = Part.OTHER
        if ("attn" in name and any(key in name for key in ("q_proj", "v_proj", "qkv"))) or "pos" in name:
            part |= Part.ATTENTION
        if name.startswith(("norm.", "fc_norm.", "head.")):
            part |= Part.READOUT | Part.PROJECTION
        if any(name.startswith(last + following) for following in ("norm2.", "mlp.", "gamma_2")):
            part |= Part.READOUT
        return part
