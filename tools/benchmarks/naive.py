"""The plain formulations that ours is measured and tested against: the same weights, the same results, more work."""

from __future__ import annotations

import torch
from torch import Tensor

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.text_encoders.open_clip_text import CLIPTextEncoder
from maskclippp.visual_encoders.attention import attend
from maskclippp.visual_encoders.eva_vit import EVACLIPViT
from maskclippp.visual_encoders.mask_tokens import attention_bias
from maskclippp.visual_encoders.vit import CLIPViT, MaskGuidedViT


class _OneAttention(MaskGuidedViT):
    """Mask tokens stand before the image tokens in one attention, with a full (Q + L)^2 bias per head and block."""

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Mask embeddings and areas only."""
        tokens, grid = self.embed(batch.pixels)
        masks, padded, inside = self.on_grid(batch.masks, grid)
        rotary, count = self.rotary(grid, tokens.device), 0
        for number, block in enumerate(self.blocks, start=1):
            if number == self.mask_prior_beg:
                count = padded.shape[1]
                tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], dim=1)
            bias = self._full_bias(padded, inside, number) if number >= self.mask_prior_beg else None
            normed = self.norm_attention(block, tokens)
            key, value = self.key_value(block, normed)
            query, key = (self._rotate_images(x, rotary, count) for x in (self.query(block, normed), key))
            tokens = self.update(block, tokens, attend(query, key, value, bias))
        embeddings = self.project(tokens[:, :count])
        return VisualOutput(
            mask_embeddings=[row[: len(picture)] for row, picture in zip(embeddings, masks, strict=True)],
            areas=[picture.sum(dim=(1, 2)) for picture in masks],
        )

    def _rotate_images(self, heads: Tensor, rotary: Tensor | None, count: int) -> Tensor:
        return torch.cat([heads[:, :, :count], self.rotate(heads[:, :, count:], rotary)], dim=2)

    def _full_bias(self, padded: Tensor, inside: Tensor, number: int) -> Tensor:
        """(B, Q, h*w) -> (B, heads, Q + L, Q + L)."""
        mask_rows = attention_bias(padded, inside, self.mask_logit_scale[self.num_blocks - number])
        batch, heads, count, patches = mask_rows.shape
        bias = mask_rows.new_zeros((batch, heads, count + 1 + patches, count + 1 + patches))
        bias[:, :, :, :count] = float("-inf")  # nobody sees mask tokens
        bias[:, :, :count, count] = float("-inf")  # mask tokens do not see the class token
        bias[:, :, :count, count + 1 :] = mask_rows
        return bias


class NaiveCLIPViT(_OneAttention, CLIPViT):
    """CLIPViT in one attention."""


class NaiveEVACLIPViT(_OneAttention, EVACLIPViT):
    """EVACLIPViT in one attention."""


class PaddedTextEncoder(CLIPTextEncoder):
    """Runs the whole context, padding included."""

    @property
    def _cuttable(self) -> bool:
        return False
