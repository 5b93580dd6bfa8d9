"""Heads of parameterised similarity modelling (MaskCLIP++, Zeng et al. 2024, section 3.3).

They may rescale and shift similarities, but act the same way on every class: nothing class-specific can be learnt.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from maskclippp.utils.errors import UserError
from maskclippp.utils.precision import full_precision

from .build import PSM_REGISTRY
from .context import SimilarityContext
from .cosine import MAX_LOGIT_SCALE

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)
PUBLISHED, TEMPLATE_MEAN = "published", "template_mean"
INITS = (PUBLISHED, TEMPLATE_MEAN)
"""How the two maps along the templates start: as random draws, whose product has a random sign, or as the mean."""
START_SLOPE = 1 / 3
"""Of "template_mean": the standard deviation of the slope of the published start, whatever templates and width.

With it fresh heads learn faster than with slope 1: logits of a tuned CLIP are too steep for masks.
"""


def fold(first: nn.Linear, second: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return the one affine map that equals Linear(T, width), Linear(width, 1): weights (T,) and a scalar."""
    out = second.weight.double()  # float64: rounding would add up over the width
    weight = (out @ first.weight.double())[0]
    bias = (out @ first.bias.double() + second.bias.double())[0]
    return weight.to(first.weight.dtype), bias.to(first.bias.dtype)


def affine_similarity(first: nn.Linear, second: nn.Linear, similarity: Tensor, training: bool) -> Tensor:
    """Apply the two maps along the templates, (N, Ka, T) -> (N, Ka); folded into one unless training."""
    if training:
        return second(first(similarity)).squeeze(-1)
    weight, bias = fold(first, second)
    return similarity @ weight + bias


@torch.no_grad()
def initialise(first: nn.Linear, second: nn.Linear, init: str) -> None:
    """Set the start of Linear(T, width), Linear(width, 1).

    The published start, PyTorch's draws, is a map with a slope of either sign: a fresh head may rank the classes in
    reverse. "template_mean" keeps one draw per unit of the width and shares it among all templates and both maps, so
    that together they are the mean over the templates times :data:`START_SLOPE`, without shift. No further random
    number is used.

    Raises:
        UserError: unknown ``init``.
    """
    if init not in INITS:
        raise UserError(f"MODEL.MASKCLIPPP.PSM.INIT '{init}' is unknown; choose one of {', '.join(INITS)}")
    if init == PUBLISHED:
        return
    units = first.weight[:, :1].clone()  # (width, 1)
    first.weight.copy_(units.expand_as(first.weight))
    second.weight.copy_(START_SLOPE * units.T / (first.in_features * units.square().sum()))
    first.bias.zero_()
    second.bias.zero_()


@PSM_REGISTRY.register()
class LinearPSM(nn.Module):
    """An affine map of the T similarities of a name: Linear(T, width), Linear(width, 1), nothing between them.

    Args:
        num_templates: T.
        width: width between the two maps; it only shapes the optimisation.
        init: how they start, see :func:`initialise`.
    """

    @configurable
    def __init__(self, *, num_templates: int, width: int, init: str = PUBLISHED) -> None:
        super().__init__()
        self.corr_proj_in = nn.Sequential(nn.Linear(num_templates, width))
        self.corr_proj_out = nn.Sequential(nn.Linear(width, 1))
        initialise(self.corr_proj_in[0], self.corr_proj_out[0], init)

    @classmethod
    def from_config(cls, cfg, num_templates: int, visual_shapes: dict[str, ShapeSpec]) -> dict:
        """Read the MODEL.MASKCLIPPP config node."""
        return {"num_templates": num_templates, "width": cfg.PSM.CORR_WIDTH, "init": cfg.PSM.INIT}

    def forward(self, similarity: Tensor, context: SimilarityContext | None = None) -> Tensor:
        """(N, Ka, T) -> (N, Ka); in evaluation the two maps are folded into one."""
        return affine_similarity(self.corr_proj_in[0], self.corr_proj_out[0], similarity, self.training)


@PSM_REGISTRY.register()
class PseudoTextPSM(nn.Module):
    """Class vectors look at the picture before masks are compared with them.

    The mean over the templates of each name attends to dense features of the image; residual and norm follow. The
    result, not normalised again, is multiplied with the unit mask embeddings.

    Args:
        embed_dim: D.
        visual_dim: channels of the dense features.
        visual_feature: name of the dense features.
        num_heads: of the attention.
        attention_dropout: of the attention weights.
        hidden_dropout: of the attention result.
        detach_visual: no gradient reaches the dense features.
        normalize_visual: dense features get unit length along the channels.
        use_logit_scale: multiply by an own logit scale.
        residual_templates: T of an affine map of the similarities that is added; None: nothing is added.
        residual_width: width of that map.
        residual_init: how that map starts, see :func:`initialise`; nothing else here starts with a random sign.
    """

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int,
        visual_dim: int,
        visual_feature: str,
        num_heads: int,
        attention_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        detach_visual: bool = False,
        normalize_visual: bool = False,
        use_logit_scale: bool = False,
        residual_templates: int | None = None,
        residual_width: int = 640,
        residual_init: str = PUBLISHED,
    ) -> None:
        super().__init__()
        self.img_proj = nn.Linear(visual_dim, embed_dim, bias=False)
        self.img2text = nn.MultiheadAttention(embed_dim, num_heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(hidden_dropout)
        self.ln_1 = nn.LayerNorm(embed_dim)
        self.visual_feature = visual_feature
        self.detach_visual = detach_visual
        self.normalize_visual = normalize_visual
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE)) if use_logit_scale else None
        self.corrs_in = nn.Linear(residual_templates, residual_width) if residual_templates else None
        self.corrs_out = nn.Linear(residual_width, 1) if residual_templates else None
        if residual_templates:
            initialise(self.corrs_in, self.corrs_out, residual_init)

    @classmethod
    def from_config(cls, cfg, num_templates: int, visual_shapes: dict[str, ShapeSpec]) -> dict:
        """Read the MODEL.MASKCLIPPP config node."""
        psm = cfg.PSM
        if len(psm.IN_FEATURES) != 1 or psm.IN_FEATURES[0] not in visual_shapes:
            valid = ", ".join(visual_shapes)
            raise UserError(f"PSM.IN_FEATURES {list(psm.IN_FEATURES)}: PseudoTextPSM needs one of {valid}")
        return {
            "embed_dim": visual_shapes["emb"].channels,
            "visual_dim": visual_shapes[psm.IN_FEATURES[0]].channels,
            "visual_feature": psm.IN_FEATURES[0],
            "num_heads": psm.NUM_HEADS,
            "attention_dropout": psm.ATTENTION_PROBS_DROPOUT_PROB,
            "hidden_dropout": psm.HIDDEN_DROPOUT_PROB,
            "detach_visual": psm.DETACH_VISUAL_COND,
            "normalize_visual": psm.NORM_VISUAL_COND,
            "use_logit_scale": psm.USE_LOGIT_SCALE,
            "residual_templates": num_templates if psm.CORR_RESIDUAL else None,
            "residual_width": psm.CORR_WIDTH,
            "residual_init": psm.INIT,
        }

    def forward(self, similarity: Tensor, context: SimilarityContext) -> Tensor:
        """(N, Ka, T) -> (N, Ka); without a residual only the context counts."""
        names = F.normalize(context.text_embeddings.mean(dim=1), dim=-1)  # (Ka, D)
        masks = F.normalize(full_precision(context.mask_embeddings), dim=-1)  # (N, D)
        logits = [
            masks[context.image_index == index] @ self.adapt(names, dense).T
            for index, dense in enumerate(context.features[self.visual_feature])
        ]
        result = torch.cat(logits)
        if self.logit_scale is not None:
            result = result * self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        if self.corrs_in is not None:
            result = result + affine_similarity(self.corrs_in, self.corrs_out, similarity, self.training)
        return result

    def adapt(self, names: Tensor, dense: Tensor) -> Tensor:
        """Let names (Ka, D) look at the features (C, h, w) of one image; returns (Ka, D)."""
        pixels = dense.flatten(1).T.to(names.dtype)  # (h*w, C)
        if self.detach_visual:
            pixels = pixels.detach()
        if self.normalize_visual:
            pixels = F.normalize(pixels, dim=-1)
        keys = self.img_proj(pixels)[None]
        # With weights the softmax is explicit; the fused kernel's rounding exceeds what logits are held to (5e-6).
        seen = self.img2text(names[None], keys, keys, need_weights=True)[0][0]
        return self.ln_1(names + self.dropout(seen)).to(names.dtype)


@PSM_REGISTRY.register()
class DummyPSM(nn.Module):
    """The mean over the templates: CLIP as it is."""

    @configurable
    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, cfg, num_templates: int, visual_shapes: dict[str, ShapeSpec]) -> dict:
        """Nothing to read."""
        return {}

    def forward(self, similarity: Tensor, context: SimilarityContext | None = None) -> Tensor:
        """(N, Ka, T) -> (N, Ka)."""
        return similarity.mean(dim=-1)
