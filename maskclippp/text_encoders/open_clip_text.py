"""Text encoders on open_clip's text towers."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.config import configurable
from torch import Tensor, nn
from torch.func import functional_call

from ..utils.errors import UserError
from ..utils.freeze import train_only
from ..utils.open_clip_models import create_clip, create_tokenizer
from .base import TextEncoder
from .build import TEXT_ENCODER_REGISTRY

FINETUNE_TYPES = ("none", "all", "attention", "proj")


@TEXT_ENCODER_REGISTRY.register()
class CLIPTextEncoder(TextEncoder):
    """Any open_clip text tower; its parameters carry the published names (``text_encoder.transformer...``).

    Args:
        tower: ``open_clip.transformer.TextTransformer``.
        logit_scale: scalar.
        tokenizer: list of S sentences -> (S, context) long.
        finetune_type: "none", "all", "attention" (in_proj weights and the position embedding) or "proj" (final norm,
            projection and logit scale).
    """

    @configurable
    def __init__(
        self,
        tower: nn.Module,
        logit_scale: Tensor,
        tokenizer: Callable[[list[str]], Tensor],
        *,
        finetune_type: str = "none",
    ) -> None:
        super().__init__()
        if finetune_type not in FINETUNE_TYPES:
            raise UserError(f"FINETUNE_TYPE '{finetune_type}' of a text encoder: valid are {', '.join(FINETUNE_TYPES)}")
        # The tower itself stays out of the module tree: its parts are registered here, under the published names, and
        # it is always called with them.
        object.__setattr__(self, "_tower", tower)
        for name, child in tower.named_children():
            self.add_module(name, child)
        for name, parameter in tower.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.register_buffer("attn_mask", tower.attn_mask, persistent=False)
        self.logit_scale = nn.Parameter(logit_scale.detach().clone().float())
        self.tokenizer = tokenizer
        self.finetune_type = finetune_type
        self.tuned = bool(train_only(self, self._trains))

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a TEXT_ENCODER config node."""
        clip = create_clip(cfg.MODEL_NAME, cfg.PRETRAINED)
        return {
            "tower": clip.text,
            "logit_scale": clip.logit_scale,
            "tokenizer": create_tokenizer(cfg.MODEL_NAME),
            "finetune_type": cfg.FINETUNE_TYPE,
        }

    @property
    def embed_dim(self) -> int:
        """Width D of the embeddings."""
        return self._tower.output_dim

    def tokenize(self, sentences: list[str]) -> Tensor:
        """Return (S, context) long token ids on the CPU."""
        return self.tokenizer(sentences)

    def forward(self, tokens: Tensor) -> Tensor:
        """(S, context) token ids -> (S, D) embeddings, not normalised.

        A causal tower is run only up to the longest sentence's end token: what follows cannot change the result.
        """
        state = dict(self.named_parameters()) | dict(self.named_buffers())
        state.pop("logit_scale")
        if self._cuttable:
            length = int(tokens.argmax(dim=-1).max()) + 1
            tokens = tokens[:, :length]
            state["attn_mask"] = self.attn_mask[:length, :length]
        return functional_call(self._tower, state, (tokens,))

    @property
    def _cuttable(self) -> bool:
        """Whether the end token (the largest id) is pooled and sees only what precedes it."""
        return self.attn_mask is not None and self._tower.pool_type == "argmax" and self._tower.cls_emb is None

    def _trains(self, name: str) -> bool:
        return {
            "none": False,
            "all": True,
            "attention": ("transformer" in name and "in_proj_weight" in name) or name == "positional_embedding",
            "proj": name.startswith(("ln_final", "text_projection", "logit_scale")),
        }[self.finetune_type]
