"""Swin transformers as Mask2Former uses them: any picture size, a norm of its own for each stage's output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from timm.layers import DropPath, Mlp, PatchEmbed
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maskclippp.utils.errors import UserError

from .backbone_weights import load_backbone
from .base import common_options
from .build import VISUAL_ENCODER_REGISTRY
from .d2_backbone import BackboneEncoder
from .window_attention import WindowAttention

STAGES = ("res2", "res3", "res4", "res5")


class SwinTransformer(Backbone):
    """Pictures -> a pyramid of features (Liu et al. 2021), with the parameter names of Mask2Former's checkpoints.

    A feature is the LayerNorm of its stage's tokens before they are merged for the next stage. timm's Swin rolls before
    it pads and shrinks windows on small maps, which gives other numbers for most picture sizes; its parts that do
    neither are used here.

    Args:
        embed_dim: channels of the first stage; each stage doubles them.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: side of a window; every other block is shifted by half of it.
        patch_size: side of a patch, and stride of the first stage.
        mlp_ratio: hidden channels of a block's MLP by its channels.
        qkv_bias: queries, keys and values have a bias.
        qk_scale: of the products of queries and keys; None: 1 / sqrt(channels of a head).
        drop_rate, attn_drop_rate: dropout of tokens and MLPs, and of attention weights.
        drop_path_rate: of the last block's branches; it grows linearly from 0.
        absolute_position: learn a position embedding of the grid of pretrain_img_size; it is interpolated to others.
        pretrain_img_size: pixels a side.
        patch_norm: normalise patches.
        out_features: the stages to return, of "res2" to "res5".
        grad_checkpointing: in training, keep no activations inside blocks and compute them again for the gradient.

    Raises:
        UserError: unknown out_features, or depths and num_heads that do not belong together.
    """

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        patch_size: int = 4,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.3,
        absolute_position: bool = False,
        pretrain_img_size: int = 224,
        patch_norm: bool = True,
        out_features: Sequence[str] = STAGES,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        dims = [embed_dim * 2**stage for stage in range(len(STAGES))]
        _check(dims, depths, num_heads, out_features)
        self.out_features = tuple(out_features)
        self.grad_checkpointing = grad_checkpointing
        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=patch_size,
            embed_dim=embed_dim,
            norm_layer=nn.LayerNorm if patch_norm else None,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        self.absolute_pos_embed: nn.Parameter | None = None
        if absolute_position:
            side = pretrain_img_size // patch_size
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, embed_dim, side, side))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(drop_rate)
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").split(list(depths))
        self.layers = nn.ModuleList()
        for stage, (dim, heads) in enumerate(zip(dims, num_heads, strict=True)):
            blocks = [
                SwinBlock(
                    dim,
                    heads,
                    window_size,
                    shift=window_size // 2 if index % 2 else 0,
                    mlp_ratio=mlp_ratio,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    drop=drop_rate,
                    attn_drop=attn_drop_rate,
                    drop_path=rate,
                )
                for index, rate in enumerate(rates[stage].tolist())
            ]
            self.layers.append(SwinStage(blocks, PatchMerging(dim) if stage + 1 < len(dims) else None))
            self.add_module(f"norm{stage}", nn.LayerNorm(dim))
        self._shapes = {
            name: ShapeSpec(channels=dim, stride=patch_size * 2**stage)
            for stage, (name, dim) in enumerate(zip(STAGES, dims, strict=True))
        }
        self.apply(_initialise)

    @classmethod
    def from_config(cls, cfg, input_shape: ShapeSpec | None = None) -> dict:
        """Read MODEL.SWIN; detectron2's ``build_backbone`` gives the input's shape, which is always RGB."""
        node = cfg.MODEL.SWIN
        return {
            "embed_dim": node.EMBED_DIM,
            "depths": node.DEPTHS,
            "num_heads": node.NUM_HEADS,
            "window_size": node.WINDOW_SIZE,
            "patch_size": node.PATCH_SIZE,
            "mlp_ratio": node.MLP_RATIO,
            "qkv_bias": node.QKV_BIAS,
            "qk_scale": node.QK_SCALE,
            "drop_rate": node.DROP_RATE,
            "attn_drop_rate": node.ATTN_DROP_RATE,
            "drop_path_rate": node.DROP_PATH_RATE,
            "absolute_position": node.APE,
            "pretrain_img_size": node.PRETRAIN_IMG_SIZE,
            "patch_norm": node.PATCH_NORM,
            "out_features": node.OUT_FEATURES,
            "grad_checkpointing": node.USE_CHECKPOINT,
        }

    @property
    def size_divisibility(self) -> int:
        """What pictures are padded to by those who ask: the stride of the last stage. Any size works."""
        return self._shapes[STAGES[-1]].stride

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each feature."""
        return {name: self._shapes[name] for name in self.out_features}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W), normalised -> features (B, C, ceil(H / stride), ceil(W / stride)) by name."""
        x = self.patch_embed(pixels)
        if self.absolute_pos_embed is not None:
            grid = F.interpolate(self.absolute_pos_embed, size=tuple(x.shape[1:3]), mode="bicubic")
            x = x + grid.permute(0, 2, 3, 1).to(x.dtype)
        x, found = self.pos_drop(x), {}
        for stage, name in enumerate(STAGES):
            layer = self.layers[stage]
            for block in layer.blocks:
                if self.grad_checkpointing and self.training and torch.is_grad_enabled():
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
            if name in self.out_features:
                found[name] = getattr(self, f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous()
            if layer.downsample is not None:
                x = layer.downsample(x)
        return found


BACKBONE_REGISTRY._do_register("D2SwinTransformer", SwinTransformer)


class SwinStage(nn.Module):
    """A container: blocks of one resolution, and what leads to the next (None: nothing)."""

    def __init__(self, blocks: list[SwinBlock], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class SwinBlock(nn.Module):
    """Window attention and an MLP, each after a norm and beside the identity.

    Args:
        dim, num_heads, window, shift, qkv_bias, qk_scale, attn_drop: see :class:`WindowAttention`.
        mlp_ratio: see :class:`SwinTransformer`.
        drop: dropout of both outputs.
        drop_path: probability that a branch is left out for a picture.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: int,
        *,
        shift: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop: float,
        attn_drop: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim, num_heads, window, shift, qkv_bias=qkv_bias, scale=qk_scale, attn_drop=attn_drop, proj_drop=drop
        )
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=drop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(dims: Sequence[int], depths: Sequence[int], num_heads: Sequence[int], out_features: Sequence[str]) -> None:
    if not len(depths) == len(num_heads) == len(STAGES):
        raise UserError(f"MODEL.SWIN: DEPTHS {list(depths)} and NUM_HEADS {list(num_heads)} need {len(STAGES)} numbers")
    for dim, heads in zip(dims, num_heads, strict=True):
        if dim % heads:
            raise UserError(
                f"MODEL.SWIN: {heads} heads of NUM_HEADS do not divide {dim} channels (EMBED_DIM {dims[0]})"
            )
    unknown = [name for name in out_features if name not in STAGES]
    if unknown:
        raise UserError(f"MODEL.SWIN.OUT_FEATURES '{unknown[0]}': valid are {', '.join(STAGES)}")


@VISUAL_ENCODER_REGISTRY.register()
class D2SwinTransformer(BackboneEncoder):
    """The Swin transformer of MODEL.SWIN as a frozen encoder; see :class:`BackboneEncoder`."""

    @classmethod
    def from_config(cls, cfg, whole) -> dict:
        """Read a VISUAL_ENCODER config node, and MODEL.SWIN of the whole config."""
        backbone = SwinTransformer(whole, out_features=STAGES)
        load_backbone(backbone, cfg.PRETRAINED, settings="MODEL.SWIN")
        return {"backbone": backbone, **common_options(cfg)}
