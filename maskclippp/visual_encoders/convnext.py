"""CLIP ConvNeXt: mask embeddings by pooling features under the mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from maskclippp.structures import ImageBatch, ResampledMasks, VisualOutput
from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part, finetune
from maskclippp.utils.open_clip_models import create_clip

from .base import VisualEncoder, common_options
from .build import VISUAL_ENCODER_REGISTRY
from .mask_policies.patch_grid import downsample_masks

EPSILON = 1e-6
STAGE_STRIDES = (4, 8, 16, 32)


@VISUAL_ENCODER_REGISTRY.register()
class CLIPConvNeXt(VisualEncoder):
    """Mask pooling on a timm ConvNeXt as open_clip builds it.

    With ``mask_prior_beg`` 5 a mask's embedding is the weighted mean of the last stage's features, put through the head
    as a 1 x 1 map. With 1 to 4 each mask keeps a vector from that stage on: it goes through every layer as a small map,
    and the pooled output of the layer is added.

    Args:
        tower: ``open_clip.timm_model.TimmModel`` around a ConvNeXt.
        mask_prior_beg: 1 to 5.
        options: see :class:`VisualEncoder`.
    """

    finetune_types = ("none", "all", "before_proj", "before_s4", "after_s4")

    @configurable
    def __init__(self, tower: nn.Module, *, mask_prior_beg: int = 5, **options) -> None:
        super().__init__(**options)
        if not hasattr(getattr(tower, "trunk", None), "stages"):
            raise UserError("CLIPConvNeXt needs an open_clip model whose image tower is a ConvNeXt of timm")
        if not 1 <= mask_prior_beg <= 5:
            raise UserError(f"MASK_PRIOR_BEG {mask_prior_beg} of CLIPConvNeXt: valid are 1 to 5")
        self.proxy = tower
        self.mask_prior_beg = mask_prior_beg
        self._check_features()
        finetune(self.proxy, self.finetune_type, self.part)

    @classmethod
    def from_config(cls, cfg, whole=None) -> dict:
        """Read a VISUAL_ENCODER config node."""
        tower = create_clip(cfg.MODEL_NAME, cfg.PRETRAINED).visual
        return {"tower": tower, "mask_prior_beg": max(cfg.MASK_PRIOR_BEG, 1), **common_options(cfg)}

    @property
    def smallest_side(self) -> int:
        """The stride of the last features."""
        return STAGE_STRIDES[-1]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the requested features and of "emb"."""
        widths = [stage.blocks[-1].conv_dw.out_channels for stage in self.proxy.trunk.stages]
        stages = {f"stage{i + 1}": ShapeSpec(channels=widths[i], stride=s) for i, s in enumerate(STAGE_STRIDES)}
        embed_dim = next(p.shape[0] for name, p in reversed(list(self.proxy.head.named_parameters())) if p.dim() == 2)
        shapes = {"emb": ShapeSpec(channels=embed_dim)}
        for name in self.out_features:
            stride = STAGE_STRIDES[-1] if name == "p_embs" else None
            shapes[name] = stages.get(name, ShapeSpec(channels=embed_dim, stride=stride))
        return {name + self.feature_suffix: shape for name, shape in shapes.items()}

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; see the class."""
        masks = None
        if "m_embs" in self.out_features:
            masks = _MaskVectors(batch.masks)
        features, maps = self.proxy.trunk.stem(batch.pixels), {}
        for number, stage in enumerate(self.proxy.trunk.stages, start=1):
            follow = masks is not None and number >= self.mask_prior_beg
            if follow and number == self.mask_prior_beg:
                masks.start(features)
            for layer in _layers(stage):
                features = self.run_layer(layer, features)
                if follow:
                    masks.through(layer, features)
            maps[f"stage{number}"] = features
        if masks is not None and self.mask_prior_beg == 5:
            masks.start(features)
        if "p_embs" in self.out_features:
            maps["p_embs"] = self.head(features)
        if "i_embs" in self.out_features:
            maps["i_embs"] = self.head(features.mean(dim=(2, 3), keepdim=True)).flatten(1)
        return VisualOutput(
            mask_embeddings=None if masks is None else list(self.head(masks.vectors).flatten(1).split(masks.counts)),
            areas=None if masks is None else list(masks.areas.split(masks.counts)),
            features={name: list(maps[name]) for name in self.out_features if name in maps},
        )

    def areas(self, batch: ImageBatch) -> list[Tensor]:
        """Return the largest sum of each mask on any grid that it is pooled on."""
        canvas = batch.pixels.shape[-2:]
        # A mask is pooled before the stage where it begins, too.
        first = max(min(self.mask_prior_beg - 1, 4), 1)
        grids = [tuple(side // stride for side in canvas) for stride in STAGE_STRIDES[first - 1 :]]
        return [torch.stack([_weights(masks, grid).sum(dim=1) for grid in grids]).amax(dim=0) for masks in batch.masks]

    def head(self, features: Tensor) -> Tensor:
        """Norm of the trunk's head and projection, pixel by pixel: (B, C, h, w) -> (B, D, h, w)."""
        normed = self.proxy.trunk.head.norm(features).permute(0, 2, 3, 1)
        return self.proxy.head(self.proxy.trunk.head.pre_logits(normed)).permute(0, 3, 1, 2)

    def _check_features(self) -> None:
        valid = ["m_embs", "p_embs", "i_embs", *(f"stage{number}" for number in range(1, 5))]
        for name in self.out_features:
            if name not in valid:
                raise UserError(f"OUT_FEATURES '{name}' of CLIPConvNeXt: valid are {', '.join(valid)}")

    @staticmethod
    def part(name: str) -> Part:
        """Tell the stages before the last one and the projection from the rest."""
        if name.startswith(("trunk.stem.", *(f"trunk.stages.{index}." for index in range(3)))):
            return Part.EARLY_STAGES
        return Part.READOUT if name.startswith("head.") else Part.OTHER


class _MaskVectors:
    """One vector per mask of a batch, carried through the layers.

    Attributes:
        vectors: (N, C, 1, 1).
        areas: (N,), the largest sum of each mask on any grid that it was pooled on.
    """

    def __init__(self, masks: Sequence[ResampledMasks]) -> None:
        self.masks = masks
        self.counts = [len(picture) for picture in masks]
        self.areas = torch.zeros(sum(self.counts), dtype=masks[0].dtype, device=masks[0].device)
        self._weights: dict[tuple[int, int], list[Tensor]] = {}

    def start(self, features: Tensor) -> None:
        """Begin with the mean of (B, C, h, w) features under each mask."""
        self.vectors = self._pool(features)

    def through(self, layer: nn.Module, features: Tensor) -> None:
        """Send the vectors through a layer as maps and add the pooled ``features``, the layer's output."""
        side = 2 if isinstance(layer, nn.Sequential) else 1  # the down-sampling halves its map
        maps = self.vectors.expand(-1, -1, side, side)
        self.vectors = (layer(maps) if len(maps) else features.new_zeros((0, features.shape[1], 1, 1))) + self._pool(
            features
        )

    def _pool(self, features: Tensor) -> Tensor:
        grid = tuple(features.shape[-2:])
        if grid not in self._weights:
            self._weights[grid] = [_weights(picture, grid) for picture in self.masks]
        weights = self._weights[grid]
        sums = [picture.sum(dim=1) for picture in weights]
        self.areas = torch.maximum(self.areas, torch.cat(sums))
        pooled = [
            picture.to(feature) @ feature.flatten(1).T / (total[:, None] + EPSILON)
            for picture, feature, total in zip(weights, features, sums, strict=True)
        ]
        return torch.cat(pooled)[..., None, None]


def _weights(masks: ResampledMasks, grid: tuple[int, int]) -> Tensor:
    """Bring (Q, Hp, Wp) masks to a grid, (Q, h*w)."""
    return downsample_masks(masks, grid).flatten(1)


def _layers(stage: nn.Module) -> list[nn.Module]:
    """Down-sampling (if the stage has one) and blocks."""
    first = [] if isinstance(stage.downsample, nn.Identity) else [stage.downsample]
    return [*first, *stage.blocks]
