"""Mask-guided vision transformers: a tower with blocks, and a policy for its mask tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from torch import Tensor, nn

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.utils.errors import UserError

from .attention import attend, attend_with_own, merge_heads, to_map
from .build import VISUAL_ENCODER_REGISTRY
from .mask_policies import MaskGuide, MaskPolicy
from .tower_encoder import TowerEncoder
from .towers import BlockTower, CLIPTower, EVATower


class TokenEncoder(TowerEncoder):
    """Runs image tokens and mask tokens through the blocks of a tower.

    Image tokens (class + patches) attend to each other as in plain CLIP. From the policy's first block on, each mask
    has a token that reads them as the policy says. If patches are to stop reading the class token there, they go on by
    themselves, and the plain tokens only if an embedding of the picture is asked for.

    Features: "m_embs", and "m_embs-N" after block N; "i_embs" of the picture; "p_embs" of patches by the value path of
    the last attention, "p_keys" its keys; "blockN", the patch tokens after block N.

    Args:
        tower: its module becomes ``proxy``.
        policy: its parameters are saved beside ``proxy``.
        options: see :class:`VisualEncoder`.

    Raises:
        UserError: the policy begins at a block that the tower does not have, or a feature that is not there.
    """

    finetune_types = ("none", "all", "attention", "before_proj")
    tower_class: type[BlockTower]

    @configurable
    def __init__(self, tower: BlockTower, policy: MaskPolicy, **options: Any) -> None:
        num_blocks = len(tower.blocks)
        if not 1 <= policy.first_block <= num_blocks:
            raise UserError(
                f"MASK_PRIOR_BEG {policy.first_block} is not a block of this encoder; valid are 1 to {num_blocks}"
            )
        super().__init__(tower, policy, **options)

    @property
    def num_blocks(self) -> int:
        """Blocks of the tower."""
        return len(self.tower.blocks)

    def _inner_shape(self, name: str) -> tuple[int, int] | None:
        return (self.tower.width, self.tower.stride) if name.startswith("block") or name == "p_keys" else None

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        image, grid = self.tower.embed(batch.pixels)
        guide = self.policy.on_grid(batch.masks, grid)
        rotary = self.tower.rotary(grid, image.device)
        patches, mask_tokens, features = None, image.new_zeros((len(image), 0, image.shape[-1])), {}
        for number in range(1, self.num_blocks + 1):
            if number == self.policy.first_block and guide.count:
                mask_tokens = self.policy.start(self.tower, image, guide.count)
                if not self.policy.patches_see_class:
                    patches, image = image[:, 1:], image if "i_embs" in self.out_features else None
            if number == self.num_blocks:
                features |= self._dense_features(image[:, 1:] if patches is None else patches, grid)
            image, patches, mask_tokens = self.run_layer(
                self._run_block, number, image, patches, mask_tokens, guide, rotary
            )
            if f"block{number}" in self.out_features:
                features[f"block{number}"] = to_map(image[:, 1:] if patches is None else patches, grid)
            if f"m_embs-{number}" in self.out_features:
                features[f"m_embs-{number}"] = guide.split(self.tower.project(mask_tokens))
        if "i_embs" in self.out_features:
            features["i_embs"] = self.tower.project(image[:, 0])
        return VisualOutput(
            mask_embeddings=guide.split(self.tower.project(mask_tokens)),
            areas=guide.areas(),
            features={name: list(feature) for name, feature in features.items()},
        )

    def _run_block(
        self,
        number: int,
        image: Tensor | None,
        patches: Tensor | None,
        mask_tokens: Tensor,
        guide: MaskGuide,
        rotary: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Run block ``number`` (1-based) on what there is of the three kinds of tokens.

        Args:
            number: of the block.
            image: (B, 1 + h*w, C).
            patches: (B, h*w, C), if they go on without a class token.
            mask_tokens: (B, Q, C); Q may be 0.
            guide: the masks.
            rotary: of the grid.
        """
        block, is_last = self.tower.blocks[number - 1], number == self.num_blocks
        keep_patches = not is_last or f"block{number}" in self.out_features
        own = patches is not None
        tokens = patches if own else image
        normed = self.tower.norm_attention(block, tokens)
        key, value = self.tower.key_value(block, normed)
        key = self.tower.rotate(key, rotary)
        if mask_tokens.shape[1]:
            first = 0 if own or self.policy.sees_class else 1
            mask_tokens = self._read(number, mask_tokens, key[:, :, first:], value[:, :, first:], guide)
        if own:
            patches = self._attend(block, patches, normed, key, value, rotary) if keep_patches else patches
            if image is None:
                return image, patches, mask_tokens
            normed = self.tower.norm_attention(block, image)
            key, value = self.tower.key_value(block, normed)
            key, keep_patches = self.tower.rotate(key, rotary), not is_last
        if keep_patches:
            image = self._attend(block, image, normed, key, value, rotary)
        elif "i_embs" in self.out_features:  # nobody looks at the patches any more
            image = self._attend(block, image[:, :1], normed[:, :1], key, value, None)
        return image, patches, mask_tokens

    def _attend(
        self, block: nn.Module, tokens: Tensor, normed: Tensor, key: Tensor, value: Tensor, rotary: Tensor | None
    ) -> Tensor:
        """Update image tokens by their own attention; without ``rotary`` they are no patches."""
        query = self.tower.query(block, normed)
        query = query if rotary is None else self.tower.rotate(query, rotary)
        return self.tower.update(block, tokens, attend(query, key, value))

    def _read(self, number: int, mask_tokens: Tensor, key: Tensor, value: Tensor, guide: MaskGuide) -> Tensor:
        """Let the mask tokens read keys and values (B, heads, h*w or 1 + h*w, C / heads)."""
        block, policy = self.tower.blocks[number - 1], self.policy
        normed = self.tower.norm_attention(block, mask_tokens)
        query = policy.query(self.tower, number, normed)
        bias = policy.bias(guide, self.num_blocks - number)
        if policy.sees_class:
            bias = F.pad(bias, (1, 0), value=bias.dtype == torch.bool)  # true is "may read", 0.0 adds nothing
        if policy.sees_itself:
            attended = attend_with_own(query, key, value, bias, *self.tower.key_value(block, normed))
        else:
            attended = attend(query, key, value, bias)
        return self.tower.update(block, mask_tokens, attended)

    def _dense_features(self, patches: Tensor, grid: tuple[int, int]) -> dict[str, Tensor]:
        """Return what patches (B, h*w, C) before the last block give by its value path and keys, as maps."""
        wanted = {"p_embs", "p_keys"} & set(self.out_features)
        if not wanted:
            return {}
        block = self.tower.blocks[-1]
        key, value = self.tower.key_value(block, self.tower.norm_attention(block, patches))
        features = {}
        if "p_embs" in wanted:
            features["p_embs"] = to_map(self.tower.project(self.tower.update(block, patches, merge_heads(value))), grid)
        if "p_keys" in wanted:
            features["p_keys"] = to_map(merge_heads(key), grid)
        return features

    def _check_features(self) -> None:
        blocks = range(1, self.num_blocks + 1)
        first = self.policy.first_block
        guided = [f"m_embs-{number}" for number in blocks if number >= first]
        valid = ["m_embs", "p_embs", "p_keys", "i_embs", *(f"block{number}" for number in blocks), *guided]
        for name in self.out_features:
            if name.startswith("m_embs-") and name not in valid:
                raise UserError(
                    f"OUT_FEATURES '{name}': masks have embeddings after blocks {first} (MASK_PRIOR_BEG) to "
                    f"{self.num_blocks} only"
                )
            if name not in valid:
                raise UserError(f"OUT_FEATURES '{name}' of {type(self).__name__}: valid are {', '.join(valid)}")


@VISUAL_ENCODER_REGISTRY.register()
class CLIPViT(TokenEncoder):
    """On open_clip's VisionTransformer."""

    tower_class = CLIPTower


@VISUAL_ENCODER_REGISTRY.register()
class EVACLIPViT(TokenEncoder):
    """On the EVA and EVA02 towers of timm."""

    tower_class = EVATower
