"""Mask-guided vision transformers, and the encoder for open_clip's own ViT."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from ..structures import ImageBatch, VisualOutput
from ..utils.errors import UserError
from ..utils.freeze import train_only
from ..utils.open_clip_models import create_clip
from .attention import attend, merge_heads, resize_position_embedding, split_heads, to_map
from .base import common_options
from .build import VISUAL_ENCODER_REGISTRY
from .guided import MaskGuidedEncoder, mask_options
from .mask_tokens import attention_bias


class MaskGuidedViT(MaskGuidedEncoder):
    """Runs image tokens and mask tokens through the blocks of a vision transformer.

    Image tokens (class + patches) attend to each other as in plain CLIP. From block ``mask_prior_beg`` on, each mask
    has a token, at first a copy of its picture's class token, that attends only to the patches, with a bias from the
    mask.
    A subclass says how its tower embeds pictures and how one block computes queries, keys, values and its update.

    Args:
        tower: the image tower; becomes ``proxy``.
        num_heads: attention heads of each block.
        num_blocks: number of blocks.
        mask_prior_beg: first block (1-based) with mask tokens.
        options: see :class:`MaskGuidedEncoder` and :class:`VisualEncoder`; s is (layers with mask tokens, heads), its
            row 0 is the last block.
    """

    finetune_types = ("none", "all", "attention", "before_proj")

    def __init__(
        self,
        tower: nn.Module,
        *,
        num_heads: int,
        num_blocks: int,
        mask_prior_beg: int,
        **options,
    ) -> None:
        if not 1 <= mask_prior_beg <= num_blocks:
            raise UserError(
                f"MASK_PRIOR_BEG {mask_prior_beg} is not a block of this encoder; valid are 1 to {num_blocks}"
            )
        super().__init__(scale_shape=(num_blocks - mask_prior_beg + 1, num_heads), **options)
        self.proxy = tower
        self.num_heads = num_heads
        self.num_blocks = num_blocks
        self.mask_prior_beg = mask_prior_beg
        self._check_features()
        train_only(self.proxy, self._trains)

    # What a tower must tell.

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks, in order."""
        raise NotImplementedError

    @property
    def patch_size(self) -> int:
        """Pixels along one side of a patch."""
        raise NotImplementedError

    @property
    def widths(self) -> tuple[int, int]:
        """Width of the tokens and of the CLIP embedding."""
        raise NotImplementedError

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, Hp, Wp) -> tokens (B, 1 + h*w, C) before the first block, and (h, w)."""
        raise NotImplementedError

    def norm_attention(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """The block's norm before attention."""
        raise NotImplementedError

    def query(self, block: nn.Module, normed: Tensor) -> Tensor:
        """(B, L, C) normed tokens -> queries (B, heads, L, C / heads)."""
        raise NotImplementedError

    def key_value(self, block: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, C) normed tokens -> keys and values, each (B, heads, L, C / heads)."""
        raise NotImplementedError

    def rotary(self, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """Return what :meth:`rotate` needs for this grid; None for towers without rotary embedding."""
        return None

    def rotate(self, heads: Tensor, rotary: Tensor | None) -> Tensor:
        """Apply the rotary embedding to queries or keys (B, heads, 1 + h*w, C / heads) of image tokens."""
        return heads

    def update(self, block: nn.Module, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add the projected attention result (B, L, C) and the MLP to the tokens."""
        raise NotImplementedError

    def project(self, tokens: Tensor) -> Tensor:
        """Final norm and projection: (..., C) -> (..., D)."""
        raise NotImplementedError

    # What is the same for all.

    @property
    def smallest_side(self) -> int:
        """One patch."""
        return self.patch_size

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the requested features and of "emb"."""
        width, embed_dim = self.widths
        shapes = {"emb": ShapeSpec(channels=embed_dim)}
        for name in self.out_features:
            if name.startswith("block"):
                shapes[name] = ShapeSpec(channels=width, stride=self.patch_size)
            else:
                stride = self.patch_size if name == "p_embs" else None
                shapes[name] = ShapeSpec(channels=embed_dim, stride=stride)
        return {name + self.feature_suffix: shape for name, shape in shapes.items()}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        tokens, grid = self.embed(batch.pixels)
        masks, guide, inside = self.on_grid(batch.masks, grid)
        rotary = self.rotary(grid, tokens.device)
        mask_tokens, features = tokens.new_zeros((len(tokens), 0, tokens.shape[-1])), {}
        for number in range(1, self.num_blocks + 1):
            if number == self.mask_prior_beg:
                mask_tokens = tokens[:, :1].expand(-1, guide.shape[1], -1)
            if number == self.num_blocks and "p_embs" in self.out_features:
                features["p_embs"] = to_map(self.project(self._dense_tokens(tokens)), grid)
            tokens, mask_tokens = self.run_layer(self._run_block, number, tokens, mask_tokens, guide, inside, rotary)
            if f"block{number}" in self.out_features:
                features[f"block{number}"] = to_map(tokens[:, 1:], grid)
            if f"m_embs-{number}" in self.out_features:
                features[f"m_embs-{number}"] = self._mask_embeddings(mask_tokens, masks)
        if "i_embs" in self.out_features:
            features["i_embs"] = self.project(tokens[:, 0])
        return VisualOutput(
            mask_embeddings=self._mask_embeddings(mask_tokens, masks),
            areas=[picture.sum(dim=(1, 2)) for picture in masks],
            features={name: list(feature) for name, feature in features.items()},
        )

    def _run_block(
        self, number: int, tokens: Tensor, mask_tokens: Tensor, guide: Tensor, inside: Tensor, rotary: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run block ``number`` on image tokens (B, 1 + h*w, C) and mask tokens (B, Q, C); Q may be 0."""
        block = self.blocks[number - 1]
        normed = self.norm_attention(block, tokens)
        key, value = self.key_value(block, normed)
        key = self.rotate(key, rotary)
        if mask_tokens.shape[1]:
            bias = attention_bias(guide, inside, self.mask_logit_scale[self.num_blocks - number])
            query = self.query(block, self.norm_attention(block, mask_tokens))
            mask_tokens = self.update(block, mask_tokens, attend(query, key[:, :, 1:], value[:, :, 1:], bias))
        if number < self.num_blocks or self._image_tokens_needed:
            query = self.rotate(self.query(block, normed), rotary)
            tokens = self.update(block, tokens, attend(query, key, value))
        return tokens, mask_tokens

    def _dense_tokens(self, tokens: Tensor) -> Tensor:
        """Patch tokens (B, h*w, C) after the last block, with its attention replaced by its value path."""
        block = self.blocks[-1]
        _, value = self.key_value(block, self.norm_attention(block, tokens))
        return self.update(block, tokens, merge_heads(value))[:, 1:]

    @property
    def _image_tokens_needed(self) -> bool:
        """Whether anybody looks at the image tokens after the last block; mask tokens need only its keys and values."""
        return bool({"i_embs", f"block{self.num_blocks}"} & set(self.out_features))

    def _mask_embeddings(self, mask_tokens: Tensor, masks: list[Tensor]) -> list[Tensor]:
        embeddings = self.project(mask_tokens)
        return [row[: len(picture)] for row, picture in zip(embeddings, masks, strict=True)]

    def _check_features(self) -> None:
        blocks = range(1, self.num_blocks + 1)
        guided = [f"m_embs-{number}" for number in blocks if number >= self.mask_prior_beg]
        valid = ["m_embs", "p_embs", "i_embs", *(f"block{number}" for number in blocks), *guided]
        for name in self.out_features:
            if name.startswith("m_embs-") and name not in valid:
                raise UserError(
                    f"OUT_FEATURES '{name}': masks have embeddings after blocks {self.mask_prior_beg} "
                    f"(MASK_PRIOR_BEG) to {self.num_blocks} only"
                )
            if name not in valid:
                raise UserError(f"OUT_FEATURES '{name}' of {type(self).__name__}: valid are {', '.join(valid)}")

    def _trains(self, name: str) -> bool:
        """Whether the tower's parameter trains under the fine-tune type."""
        raise NotImplementedError


@VISUAL_ENCODER_REGISTRY.register()
class CLIPViT(MaskGuidedViT):
    """Mask-guided encoder on open_clip's VisionTransformer (class-token pooling, standard residual blocks).

    Args:
        tower: ``open_clip.transformer.VisionTransformer``.
        options: see :class:`MaskGuidedViT` and :class:`VisualEncoder`.
    """

    @configurable
    def __init__(self, tower: nn.Module, **options) -> None:
        blocks = tower.transformer.resblocks
        if tower.attn_pool is not None or tower.pool_type != "tok" or not hasattr(blocks[0].attn, "in_proj_weight"):
            raise UserError("CLIPViT needs a plain open_clip ViT: class-token pooling, nn.MultiheadAttention blocks")
        super().__init__(tower, num_heads=blocks[0].attn.num_heads, num_blocks=len(blocks), **options)

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a VISUAL_ENCODER config node."""
        tower = getattr(create_clip(cfg.MODEL_NAME, cfg.PRETRAINED), "visual", None)
        if not hasattr(tower, "transformer"):
            raise UserError(f"MODEL_NAME '{cfg.MODEL_NAME}' is not a ViT of open_clip, which CLIPViT needs")
        return {
            "tower": tower,
            **common_options(cfg),
            **mask_options(cfg),
            "grad_checkpointing": cfg.GRAD_CHECKPOINTING,
        }

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The residual attention blocks."""
        return self.proxy.transformer.resblocks

    @property
    def patch_size(self) -> int:
        """Pixels along one side of a patch."""
        return self.proxy.patch_size[0]

    @property
    def widths(self) -> tuple[int, int]:
        """Width of the tokens and of the CLIP embedding."""
        return tuple(self.proxy.proj.shape)

    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patches, class token, interpolated position embedding, first norm."""
        patches = self.proxy.conv1(pixels)  # (B, C, h, w)
        grid = tuple(patches.shape[-2:])
        class_token = self.proxy.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)
        position = resize_position_embedding(self.proxy.positional_embedding, self.proxy.grid_size, grid)
        return self.proxy.ln_pre(tokens + position.to(tokens.dtype)), grid

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
        return self.proxy.ln_post(tokens) @ self.proxy.proj

    def _trains(self, name: str) -> bool:
        last = f"resblocks.{self.num_blocks - 1}."
        after_attention = name in ("proj", "ln_post.weight", "ln_post.bias") or any(
            last + part in name for part in ("ln_2.", "mlp.", "ls_2.")
        )
        return {
            "none": False,
            "all": True,
            # "pos" is the position embedding, and ln_post as well: published checkpoints were tuned by this substring.
            "attention": ("attn" in name and "in_proj" in name) or "pos" in name,
            "before_proj": not after_attention,
        }[self.finetune_type]
