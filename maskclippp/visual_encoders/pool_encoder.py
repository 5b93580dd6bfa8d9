"""Mask-guided attention pooling: a tower that ends in one, and a policy for the queries of masks."""

from __future__ import annotations

from typing import Any

from detectron2.config import configurable
from torch import nn

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.utils.errors import UserError

from .attention import to_map
from .build import VISUAL_ENCODER_REGISTRY
from .mask_policies import MaskPolicy, SoftBias
from .tower_encoder import TowerEncoder
from .towers import LatentPoolTower, PoolTower, ResNetTower


class PoolEncoder(TowerEncoder):
    """The query of the pooling reads, for each mask, the patches under it.

    Features: "m_embs"; "i_embs" of the picture; "p_embs" of places, where the tower has a value path; its stages.

    Args:
        tower: its module becomes ``proxy``.
        policy: its parameters are saved beside ``proxy``. There is one layer with masks, whatever MASK_PRIOR_BEG says.
        options: see :class:`VisualEncoder`.

    Raises:
        UserError: a policy that needs blocks with mask tokens, or a feature that is not there.
    """

    tower_class: type[PoolTower]

    @configurable
    def __init__(self, tower: PoolTower, policy: MaskPolicy, **options: Any) -> None:
        if not isinstance(policy, SoftBias):
            raise UserError(
                f"MASK_POLICY {type(policy).__name__} needs a tower with mask tokens in its blocks, and "
                f"{type(self).__name__} ends in attention pooling; use SoftBias"
            )
        super().__init__(tower, policy, **options)

    def _check_features(self) -> None:
        valid = ("m_embs", *(("p_embs",) if self.tower.has_value_path else ()), "i_embs", *self.tower.stages)
        for name in self.out_features:
            if name not in valid:
                raise UserError(f"OUT_FEATURES '{name}' of {type(self).__name__}: valid are {', '.join(valid)}")

    def _inner_shape(self, name: str) -> tuple[int, int] | None:
        return self.tower.stage_shape(name) if name in self.tower.stages else None

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        tokens, grid, maps = self.tower.tokens(batch.pixels, self.run_layer)
        patches = tokens[:, self.tower.num_prefix :]
        if "p_embs" in self.out_features:
            maps["p_embs"] = to_map(self.tower.value_path(patches), grid)
        if "i_embs" in self.out_features:
            maps["i_embs"] = self.tower.pool(self.tower.query(tokens, 1), tokens)[:, 0]
        guide = self.policy.on_grid(batch.masks, grid)
        query = self.tower.query(tokens, guide.count)
        embeddings = self.tower.pool(query, patches, self.policy.bias(guide, 0))
        return VisualOutput(
            mask_embeddings=guide.split(embeddings),
            areas=guide.areas(),
            features={name: list(maps[name]) for name in self.out_features if name in maps},
        )


@VISUAL_ENCODER_REGISTRY.register()
class CLIPPooledViT(PoolEncoder):
    """On towers of timm with attention pooling (SigLIP, SigLIP 2, PE-Core).

    Fine-tune type "attention": query, key and value projections, and the position embedding.
    """

    finetune_types = ("none", "all", "attention", "before_proj")
    tower_class = LatentPoolTower


@VISUAL_ENCODER_REGISTRY.register()
class CLIPResNet(PoolEncoder):
    """On CLIP's own ResNets; batch norms that do not train keep their statistics.

    Raises:
        UserError: activation checkpointing with batch norms that train.
    """

    finetune_types = ("none", "all", "all_but_bn")
    tower_class = ResNetTower

    @configurable
    def __init__(self, tower: PoolTower, policy: MaskPolicy, **options: Any) -> None:
        super().__init__(tower=tower, policy=policy, **options)
        if self.grad_checkpointing and self.finetune_type == "all":
            raise UserError(
                "GRAD_CHECKPOINTING of CLIPResNet needs FINETUNE_TYPE all_but_bn: batch norms would count twice"
            )

    def train(self, mode: bool = True) -> CLIPResNet:
        """Switch mode, but not that of batch norms that do not train."""
        super().train(mode)
        for module in self.proxy.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self
