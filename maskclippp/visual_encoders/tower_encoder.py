"""What encoders that are composed of a tower and a mask policy have in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import Any

from detectron2.layers import ShapeSpec
from torch import Tensor

from maskclippp.structures import ImageBatch
from maskclippp.utils.finetune import finetune
from maskclippp.utils.published_names import use_published_names

from .base import VisualEncoder, common_options
from .mask_policies import MaskPolicy, build_mask_policy
from .towers import Tower


class TowerEncoder(VisualEncoder):
    """A tower, and a policy that says what masks read of it.

    Args:
        tower: its module becomes ``proxy``.
        policy: its parameters are saved beside ``proxy``, without "policy.", as published checkpoints name them.
        options: see :class:`VisualEncoder`.

    Raises:
        UserError: a feature that is not there.
    """

    tower_class: type[Tower]

    def __init__(self, tower: Tower, policy: MaskPolicy, **options: Any) -> None:
        super().__init__(**options)
        self.tower = tower
        self.policy = policy
        self.proxy = tower.module
        self._check_features()
        finetune(self.proxy, self.finetune_type, tower.part)
        own = "|".join(re.escape(name) for name in policy.state_dict())
        if own:
            use_published_names(self, ((r"^policy\.", ""),), ((rf"^({own})$", r"policy.\1"),))

    @classmethod
    def from_config(cls, cfg, whole=None) -> dict[str, Any]:
        """Read a VISUAL_ENCODER config node."""
        tower = cls.tower_class.from_node(cfg)
        return {"tower": tower, "policy": build_mask_policy(cfg, tower), **common_options(cfg)}

    @abstractmethod
    def _check_features(self) -> None:
        """Refuse a name of ``out_features`` that this encoder does not have."""

    @abstractmethod
    def _inner_shape(self, name: str) -> tuple[int, int] | None:
        """Return channels and stride of a feature from within the tower; None for embeddings."""

    @property
    def smallest_side(self) -> int:
        """One cell of the patch grid."""
        return self.tower.stride

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the requested features and of "emb"."""
        shapes = {"emb": ShapeSpec(channels=self.tower.embed_dim)}
        for name in self.out_features:
            stride = self.tower.stride if name == "p_embs" else None
            channels, stride = self._inner_shape(name) or (self.tower.embed_dim, stride)
            shapes[name] = ShapeSpec(channels=channels, stride=stride)
        return {name + self.feature_suffix: shape for name, shape in shapes.items()}

    def areas(self, batch: ImageBatch) -> list[Tensor]:
        """Return the sum of each mask on the patch grid."""
        return self.policy.on_grid(batch.masks, self.tower.grid(tuple(batch.pixels.shape[-2:]))).areas()
