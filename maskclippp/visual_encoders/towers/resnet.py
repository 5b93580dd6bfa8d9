"""CLIP's own ResNets, which end in attention pooling."""

from __future__ import annotations

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import Part
from maskclippp.utils.open_clip_models import create_clip

from ..attention import attend, resize_position_embedding, split_heads
from .base import PoolTower, RunLayer


class ResNetTower(PoolTower):
    """``open_clip.modified_resnet.ModifiedResNet``; the query of the pooling is the mean of all places."""

    module: ModifiedResNet
    stages = ("layer1", "layer2", "layer3", "layer4")
    num_prefix = 1
    has_value_path = True

    def __init__(self, module: nn.Module) -> None:
        if not isinstance(module, ModifiedResNet):
            raise UserError("CLIPResNet needs one of CLIP's own ResNets (RN50, RN101, RN50x4, RN50x16, RN50x64)")
        super().__init__(module)
        self.num_heads = module.attnpool.num_heads
        self._norms = {name for name, each in module.named_modules() if isinstance(each, nn.BatchNorm2d)}

    @classmethod
    def from_node(cls, node) -> ResNetTower:
        """Build open_clip's model MODEL_NAME with the weights PRETRAINED."""
        return cls(create_clip(node.MODEL_NAME, node.PRETRAINED).visual)

    @property
    def embed_dim(self) -> int:
        """Width D of the CLIP embedding."""
        return self.module.attnpool.c_proj.out_features

    @property
    def stride(self) -> int:
        """The stride of the last stage."""
        return self.stage_shape(self.stages[-1])[1]

    def grid(self, canvas: tuple[int, int]) -> tuple[int, int]:
        """The first convolution rounds up, the poolings down."""
        return tuple((side + 1) // 2 // 16 for side in canvas)

    def stage_shape(self, name: str) -> tuple[int, int]:
        """Return channels and stride of a stage."""
        return self.module.get_submodule(name)[-1].bn3.num_features, 4 * 2 ** self.stages.index(name)

    def tokens(self, pixels: Tensor, run: RunLayer) -> tuple[Tensor, tuple[int, int], dict[str, Tensor]]:
        """Return the mean of all places and the places, with positions; (h, w); the stages."""
        features, stages = self.module.stem(pixels), {}
        for name in self.stages:
            features = stages[name] = run(self.module.get_submodule(name), features)
        patches = features.flatten(2).transpose(1, 2)  # (B, h*w, C)
        tokens = torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1)
        embedding = self.module.attnpool.positional_embedding
        side = round((len(embedding) - 1) ** 0.5)
        grid = tuple(features.shape[-2:])
        return tokens + resize_position_embedding(embedding, (side, side), grid).to(tokens.dtype), grid, stages

    def query(self, tokens: Tensor, count: int) -> Tensor:
        """Return the mean token as query, (B, heads, count, C / heads)."""
        return split_heads(self.module.attnpool.q_proj(tokens[:, :1]), self.num_heads).expand(-1, -1, count, -1)

    def pool(self, query: Tensor, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend and project."""
        pool = self.module.attnpool
        key, value = (split_heads(projection(tokens), self.num_heads) for projection in (pool.k_proj, pool.v_proj))
        return pool.c_proj(attend(query, key, value, bias))

    def value_path(self, patches: Tensor) -> Tensor:
        """Value and output projection."""
        return self.module.attnpool.c_proj(self.module.attnpool.v_proj(patches))

    def part(self, name: str) -> Part:
        """Tell batch norms from the rest."""
        return Part.BATCH_NORM if name.rpartition(".")[0] in self._norms else Part.OTHER
