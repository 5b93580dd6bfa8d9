"""Text encoders on open_clip's text towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import configurable
from torch import Tensor, nn
from torch.func import functional_call

from maskclippp.utils.finetune import Part, check_finetune_type, finetune
from maskclippp.utils.open_clip_models import create_clip, create_tokenizer, eva_model_name, eva_pretrained

from .base import TextEncoder
from .build import TEXT_ENCODER_REGISTRY

FINETUNE_TYPES = ("none", "all", "attention", "proj")


def text_tower(model_name: str, pretrained: str) -> dict[str, Any]:
    """Return tower, logit scale and tokenizer of an open_clip model, as the encoders' arguments."""
    clip = create_clip(model_name, pretrained)
    return {"tower": clip.text, "logit_scale": clip.logit_scale, "tokenizer": create_tokenizer(model_name)}


def finetuning(cfg) -> dict[str, Any]:
    """Read how a TEXT_ENCODER config node wants the tower trained, as the encoders' arguments."""
    return {"finetune_type": cfg.FINETUNE_TYPE, "grad_checkpointing": cfg.GRAD_CHECKPOINTING}


@TEXT_ENCODER_REGISTRY.register()
class CLIPTextEncoder(TextEncoder):
    """Any open_clip text tower; its parameters carry the published names (``text_encoder.transformer...``).

    Args:
        tower: ``open_clip.transformer.TextTransformer``.
        logit_scale: scalar.
        tokenizer: list of S sentences -> (S, context) long.
        finetune_type: "none", "all", "attention" (in_proj weights and the position embedding) or "proj" (final norm,
            projection and logit scale).
        grad_checkpointing: in training, compute activations inside blocks again for the gradient.
    """

    @configurable
    def __init__(
        self,
        tower: nn.Module,
        logit_scale: Tensor,
        tokenizer: Callable[[list[str]], Tensor],
        *,
        finetune_type: str = "none",
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_finetune_type(finetune_type, FINETUNE_TYPES, "a text encoder")
        tower.set_grad_checkpointing(grad_checkpointing)
        self._hold(tower)
        self.logit_scale = nn.Parameter(logit_scale.detach().clone().float())
        self.tokenizer = tokenizer
        self.finetune_type = finetune_type
        self.tuned = bool(finetune(self, finetune_type, self.part))

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a TEXT_ENCODER config node."""
        return text_tower(cfg.MODEL_NAME, cfg.PRETRAINED) | finetuning(cfg)

    def _hold(self, tower: nn.Module) -> None:
        """Register the tower's parts under the published names; the tower itself stays out of the module tree."""
        object.__setattr__(self, "_tower", tower)
        for name, child in tower.named_children():
            self.add_module(name, child)
        for name, parameter in tower.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.register_buffer("attn_mask", tower.attn_mask, persistent=False)

    def _tower_state(self) -> dict[str, Tensor]:
        """Return the tensors that the tower is called with."""
        state = dict(self.named_parameters()) | dict(self.named_buffers())
        state.pop("logit_scale")
        return state

    @property
    def embed_dim(self) -> int:
        """Width D of the embeddings."""
        return self._tower.output_dim

    def tokenize(self, sentences: list[str]) -> Tensor:
        """Return (S, context) long token ids on the CPU."""
        with torch.device("cpu"):  # also where models are built without memory
            return self.tokenizer(sentences)

    def forward(self, tokens: Tensor) -> Tensor:
        """(S, context) token ids -> (S, D) embeddings, not normalised.

        A causal tower is run only up to the longest sentence's end token: what follows cannot change the result.
        """
        state = self._tower_state()
        if self._cuttable:
            length = int(tokens.argmax(dim=-1).max()) + 1
            tokens = tokens[:, :length]
            state["attn_mask"] = state["attn_mask"][:length, :length]
        return functional_call(self._tower, state, (tokens,))

    @property
    def _cuttable(self) -> bool:
        """Whether the end token (the largest id) is pooled and sees only what precedes it."""
        return self._tower.attn_mask is not None and self._tower.pool_type == "argmax" and self._tower.cls_emb is None

    def part(self, name: str) -> Part:
        """Tell the part of a parameter."""
        if ("transformer" in name and "in_proj_weight" in name) or name == "positional_embedding":
            return Part.ATTENTION
        if name.startswith(("ln_final", "text_projection", "logit_scale")):
            return Part.PROJECTION
        return Part.OTHER


@TEXT_ENCODER_REGISTRY.register()
class EVACLIPTextEncoder(CLIPTextEncoder):
    """EVA-CLIP's text tower; published checkpoints keep its parameters below ``proxy``.

    Fine-tune type "attention" also trains the norms and MLPs of every block, as the published ``_wtext`` model was.
    """

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read a TEXT_ENCODER config node."""
        name = eva_model_name(cfg.MODEL_NAME)
        return text_tower(name, eva_pretrained(name, cfg.PRETRAINED)) | finetuning(cfg)

    def _hold(self, tower: nn.Module) -> None:
        self.proxy = tower
        object.__setattr__(self, "_tower", tower)

    def _tower_state(self) -> dict[str, Tensor]:
        return {"attn_mask": self.proxy.attn_mask}

    def part(self, name: str) -> Part:
        """Tell the part of a parameter; norms and MLPs of blocks are ATTENTION too."""
        name = name.removeprefix("proxy.")
        if "resblocks" in name and any(part in name for part in (".ln_1.", ".ln_2.", ".mlp.")):
            return Part.ATTENTION
        return super().part(name)
