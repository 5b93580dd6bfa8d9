"""How masks guide the attention of a tower: the contract of all mask policies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from maskclippp.structures import ResampledMasks
from maskclippp.utils.errors import UserError

from ..towers.base import BlockTower
from .patch_grid import DOWNSAMPLE_METHODS, downsample_masks, pad_masks


@dataclass(frozen=True)
class MaskGuide:
    """The masks of a batch on the patch grid.

    Attributes:
        masks: B tensors (Q, h, w).
        values: the same stacked, (B, max Q, h*w), with empty masks in the free places.
        inside: bool of that shape, where a patch belongs to a mask.
    """

    masks: Sequence[Tensor]
    values: Tensor
    inside: Tensor

    @property
    def count(self) -> int:
        """The largest number of masks of a picture."""
        return self.values.shape[1]

    def areas(self) -> list[Tensor]:
        """Return the sum of each mask, B tensors (Q,)."""
        return [picture.sum(dim=(1, 2)) for picture in self.masks]

    def split(self, embeddings: Tensor) -> list[Tensor]:
        """Cut (B, max Q, D) into B tensors (Q, D)."""
        return [row[: len(picture)] for row, picture in zip(embeddings, self.masks, strict=True)]


class MaskPolicy(nn.Module, ABC):
    """Base class: each mask has a token of its own, which reads the picture through the blocks of a tower.

    Image tokens never see mask tokens, so the masks need only a small cross-attention beside the attention of the
    picture. A policy says where the tokens enter, what they are at first, what each may read, and with which queries.

    Args:
        first_block: first block (1-based) with mask tokens.
        downsample_method: how masks come to the patch grid, one of ``DOWNSAMPLE_METHODS``.

    Attributes:
        sees_class: mask tokens also read the picture's class token, whatever their mask.
        sees_itself: each mask token also reads itself.
        patches_see_class: patches go on reading the class token where there are mask tokens. If not, there is no class
            token from ``first_block`` on.
    """

    sees_class = False
    sees_itself = False
    patches_see_class = True

    def __init__(self, *, first_block: int = 1, downsample_method: str = "bilinear") -> None:
        super().__init__()
        if downsample_method not in DOWNSAMPLE_METHODS:
            raise UserError(f"DOWNSAMPLE_METHOD '{downsample_method}' is none of {', '.join(DOWNSAMPLE_METHODS)}")
        self.first_block = first_block
        self.downsample_method = downsample_method

    @abstractmethod
    def inside(self, values: Tensor) -> Tensor:
        """Tell which patches belong to masks (B, Q, h*w): bool of that shape."""

    @abstractmethod
    def bias(self, guide: MaskGuide, blocks_left: int) -> Tensor:
        """Return what each mask token may read of the patches, (B, heads or 1, Q, h*w).

        Args:
            guide: the masks.
            blocks_left: blocks that follow; 0 in the last one.

        Returns:
            Bool, true where it may; or float, added to the scores before the softmax.
        """

    def start(self, tower: BlockTower, tokens: Tensor, count: int) -> Tensor:
        """Return the mask tokens before ``first_block``, (B, count, C): copies of the class token by default.

        Args:
            tower: runs the blocks.
            tokens: (B, 1 + h*w, C) of the picture before that block.
            count: mask tokens of each picture.
        """
        return tokens[:, :1].expand(-1, count, -1)

    def query(self, tower: BlockTower, number: int, normed: Tensor) -> Tensor:
        """Normed mask tokens (B, Q, C) -> their queries (B, heads, Q, C / heads) in block ``number`` (1-based)."""
        return tower.query(tower.blocks[number - 1], normed)

    def on_grid(self, masks: Sequence[ResampledMasks], grid: tuple[int, int]) -> MaskGuide:
        """Bring B views (Q, Hp, Wp) to the patch grid (h, w)."""
        small = [downsample_masks(picture, grid, self.downsample_method) for picture in masks]
        values = pad_masks(small)
        return MaskGuide(small, values, self.inside(values))
