"""The plain formulations that ours is measured and tested against: the same weights, the same results, more work."""

from __future__ import annotations

import torch
from torch import Tensor

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.text_encoders.open_clip_text import CLIPTextEncoder
from maskclippp.visual_encoders.attention import attend
from maskclippp.visual_encoders.mask_policies import MaskGuide
from maskclippp.visual_encoders.token_encoder import TokenEncoder


class OneAttention(TokenEncoder):
    """Mask tokens stand before the image tokens in one attention, with a full (Q + L)^2 bias per head and block.

    For towers of any kind, with the soft bias of MaskCLIP++.
    """

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Mask embeddings and areas only."""
        tower, policy = self.tower, self.policy
        tokens, grid = tower.embed(batch.pixels)
        guide, rotary, count = policy.on_grid(batch.masks, grid), tower.rotary(grid, tokens.device), 0
        for number, block in enumerate(tower.blocks, start=1):
            if number == policy.first_block:
                count = guide.count
                tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], dim=1)
            bias = self._full_bias(guide, number) if number >= policy.first_block else None
            normed = tower.norm_attention(block, tokens)
            key, value = tower.key_value(block, normed)
            query, key = tower.rotate(tower.query(block, normed), rotary), tower.rotate(key, rotary)
            tokens = tower.update(block, tokens, attend(query, key, value, bias))
        return VisualOutput(mask_embeddings=guide.split(tower.project(tokens[:, :count])), areas=guide.areas())

    def _full_bias(self, guide: MaskGuide, number: int) -> Tensor:
        """(B, Q, h*w) -> (B, heads, Q + L, Q + L)."""
        mask_rows = self.policy.bias(guide, self.num_blocks - number)
        batch, heads, count, patches = mask_rows.shape
        bias = mask_rows.new_zeros((batch, heads, count + 1 + patches, count + 1 + patches))
        bias[:, :, :, :count] = float("-inf")  # nobody sees mask tokens
        bias[:, :, :count, count] = float("-inf")  # mask tokens do not see the class token
        bias[:, :, :count, count + 1 :] = mask_rows
        return bias


class PaddedTextEncoder(CLIPTextEncoder):
    """Runs the whole context, padding included."""

    @property
    def _cuttable(self) -> bool:
        return False
