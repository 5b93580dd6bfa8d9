"""Mask-guided attention pooling: a tower that ends in one, and a policy for the queries of masks."""

from __future__ import annotations

from typing import Any

from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from maskclippp.structures import ImageBatch, VisualOutput
from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import finetune

from .attention import to_map
from .base import VisualEncoder, common_options
from .build import VISUAL_ENCODER_REGISTRY
from .mask_policies import MaskPolicy, SoftBias, build_mask_policy
from .token_encoder import keep_policy_names
from .towers import LatentPoolTower, PoolTower, ResNetTower


class PoolEncoder(VisualEncoder):
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
        super().__init__(**options)
        if not isinstance(policy, SoftBias):
            raise UserError(
                f"MASK_POLICY {type(policy).__name__} needs a tower with mask tokens in its blocks, and "
                f"{type(self).__name__} ends in attention pooling; use SoftBias"
            )
        self.tower = tower
        self.policy = policy
        self.proxy = tower.module
        valid = ("m_embs", *(("p_embs",) if tower.has_value_path else ()), "i_embs", *tower.stages)
        for name in self.out_features:
            if name not in valid:
                raise UserError(f"OUT_FEATURES '{name}' of {type(self).__name__}: valid are {', '.join(valid)}")
        finetune(self.proxy, self.finetune_type, tower.part)
        keep_policy_names(self)

    @classmethod
    def from_config(cls, cfg, whole=None) -> dict[str, Any]:
        """Read a VISUAL_ENCODER config node."""
        tower = cls.tower_class.from_node(cfg)
        return {"tower": tower, "policy": build_mask_policy(cfg, tower), **common_options(cfg)}

    @property
    def smallest_side(self) -> int:
        """The stride of the last features."""
        return self.tower.stride

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the requested features and of "emb"."""
        shapes = {"emb": ShapeSpec(channels=self.tower.embed_dim)}
        for name in self.out_features:
            if name in self.tower.stages:
                channels, stride = self.tower.stage_shape(name)
                shapes[name] = ShapeSpec(channels=channels, stride=stride)
            else:
                stride = self.tower.stride if name == "p_embs" else None
                shapes[name] = ShapeSpec(channels=self.tower.embed_dim, stride=stride)
        return {name + self.feature_suffix: shape for name, shape in shapes.items()}

    def areas(self, batch: ImageBatch) -> list[Tensor]:
        """Return the sum of each mask on the patch grid."""
        return self.policy.on_grid(batch.masks, self.tower.grid(tuple(batch.pixels.shape[-2:]))).areas()

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
