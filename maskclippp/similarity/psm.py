"""Heads of parameterised similarity modelling (MaskCLIP++, Zeng et al. 2024, section 3.3).

They may rescale and shift similarities, but act the same way on every class: nothing class-specific can be learnt.
"""

from __future__ import annotations

from detectron2.config import configurable
from torch import Tensor, nn

from .build import PSM_REGISTRY
from .context import SimilarityContext


@PSM_REGISTRY.register()
class LinearPSM(nn.Module):
    """An affine map of the T similarities of a name: Linear(T, width), Linear(width, 1), nothing between them.

    Args:
        num_templates: T.
        width: width between the two maps; it only shapes the optimisation.
    """

    @configurable
    def __init__(self, *, num_templates: int, width: int) -> None:
        super().__init__()
        self.corr_proj_in = nn.Sequential(nn.Linear(num_templates, width))
        self.corr_proj_out = nn.Sequential(nn.Linear(width, 1))

    @classmethod
    def from_config(cls, cfg, num_templates: int) -> dict:
        """Read the MODEL.MASKCLIPPP config node."""
        return {"num_templates": num_templates, "width": cfg.PSM.CORR_WIDTH}

    def forward(self, similarity: Tensor, context: SimilarityContext | None = None) -> Tensor:
        """(N, Ka, T) -> (N, Ka); in evaluation the two maps are folded into one."""
        if self.training:
            return self.corr_proj_out(self.corr_proj_in(similarity)).squeeze(-1)
        weight, bias = self.folded()
        return similarity @ weight + bias

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return the one affine map that equals both: weights (T,) and a scalar."""
        first, second = self.corr_proj_in[0], self.corr_proj_out[0]
        out = second.weight.double()  # float64: rounding would add up over the width
        weight = (out @ first.weight.double())[0]
        bias = (out @ first.bias.double() + second.bias.double())[0]
        return weight.to(first.weight.dtype), bias.to(first.bias.dtype)


@PSM_REGISTRY.register()
class DummyPSM(nn.Module):
    """The mean over the templates: CLIP as it is."""

    @configurable
    def __init__(self) -> None:
        super().__init__()

    @classmethod
    def from_config(cls, cfg, num_templates: int) -> dict:
        """Nothing to read."""
        return {}

    def forward(self, similarity: Tensor, context: SimilarityContext | None = None) -> Tensor:
        """(N, Ka, T) -> (N, Ka)."""
        return similarity.mean(dim=-1)
