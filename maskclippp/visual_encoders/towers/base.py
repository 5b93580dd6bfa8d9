"""What an image tower of CLIP tells about itself, whatever library it is of.

A tower object is no module: it gives one face to a module whose parameters keep their own names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskclippp.utils.finetune import Part

RunLayer = Callable[..., Any]
"""Calls its first argument, a layer, with the others; perhaps with activation checkpointing."""


class Tower(ABC):
    """Base class of all towers.

    Attributes:
        module: what holds the weights.
        num_heads: attention heads where masks come in.
    """

    num_heads: int

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @classmethod
    @abstractmethod
    def from_node(cls, node: Any) -> Tower:
        """Build the tower that a VISUAL_ENCODER config node names.

        Raises:
            UserError: MODEL_NAME is not known, or is of another kind of tower.
        """

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Width D of the CLIP embedding."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels along one side of a place of the last feature map."""

    @abstractmethod
    def grid(self, canvas: tuple[int, int]) -> tuple[int, int]:
        """Return (h, w) of the last feature map of a picture of (Hp, Wp) pixels."""

    @abstractmethod
    def part(self, name: str) -> Part:
        """Tell which part of the tower a parameter of :attr:`module` belongs to."""


class BlockTower(Tower):
    """A vision transformer with a class token: pictures become tokens, blocks update them, a projection reads them."""

    def grid(self, canvas: tuple[int, int]) -> tuple[int, int]:
        """Return the number of whole patches."""
        return canvas[0] // self.stride, canvas[1] // self.stride

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The transformer blocks, in order."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width C of the tokens."""

    @abstractmethod
    def embed(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, Hp, Wp) -> tokens (B, 1 + h*w, C) before the first block, the class token first, and (h, w)."""

    @abstractmethod
    def norm_attention(self, block: nn.Module, tokens: Tensor) -> Tensor:
        """Apply the norm before attention of a block to (B, L, C)."""

    @abstractmethod
    def query(self, block: nn.Module, normed: Tensor) -> Tensor:
        """(B, L, C) normed tokens -> queries (B, heads, L, C / heads)."""

    @abstractmethod
    def key_value(self, block: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, C) normed tokens -> keys and values, each (B, heads, L, C / heads)."""

    def rotary(self, grid: tuple[int, int], device: torch.device) -> Tensor | None:
        """Return what :meth:`rotate` needs for this grid; None for towers without rotary embedding."""
        return None

    def rotate(self, heads: Tensor, rotary: Tensor | None) -> Tensor:
        """Apply the rotary embedding to queries or keys (B, heads, L, C / heads); the last h*w tokens are patches."""
        return heads

    @abstractmethod
    def update(self, block: nn.Module, tokens: Tensor, attended: Tensor) -> Tensor:
        """Add the projected attention result (B, L, C) and the MLP to the tokens."""

    @abstractmethod
    def project(self, tokens: Tensor) -> Tensor:
        """Apply the final norm and projection: (..., C) -> (..., D)."""


class PoolTower(Tower):
    """A tower that ends in attention pooling: a query reads the tokens of the picture."""

    num_prefix: int
    """Tokens before the patches."""

    stages: tuple[str, ...] = ()
    """Names of the feature maps before the pooling."""

    has_value_path = False
    """Whether :meth:`value_path` gives an embedding of each place."""

    @abstractmethod
    def stage_shape(self, name: str) -> tuple[int, int]:
        """Return channels and stride of a stage."""

    @abstractmethod
    def tokens(self, pixels: Tensor, run: RunLayer) -> tuple[Tensor, tuple[int, int], dict[str, Tensor]]:
        """(B, 3, Hp, Wp) -> tokens (B, prefix + h*w, C) that the pooling reads, (h, w), and the stages by name."""

    @abstractmethod
    def query(self, tokens: Tensor, count: int) -> Tensor:
        """Return ``count`` copies of the query of each picture, (B, heads, count, C / heads)."""

    @abstractmethod
    def pool(self, query: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Read tokens (B, L, C) with queries (B, heads, Q, C / heads) and project: (B, Q, D).

        Args:
            bias: (B, heads, Q, L), added before the softmax; None: nothing is.
        """

    def value_path(self, patches: Tensor) -> Tensor:
        """Return the embedding of each patch, (B, h*w, C) -> (B, h*w, D), as if a query read only that one."""
        raise NotImplementedError
