"""CLIP models, towers and tokenizers from open_clip, by name and weights."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import open_clip
import torch
from torch import nn

from .errors import UserError, did_you_mean, first_line
from .paths import ASSETS, SCHEME, resolve
from .weights import find_clip_weights, weights_are_skipped
from .weights.kinds import why_not_weights


@lru_cache(maxsize=1)
def register_model_configs() -> None:
    """Make open_clip know the model configs that this package ships: ``assets/some_clip/some-clip.json``."""
    for path in sorted(ASSETS.glob("*/*.json")):
        if path.stem.replace("-", "_") == path.parent.name:
            open_clip.add_model_config(str(path))


def check_model_name(name: str, key: str = "MODEL_NAME") -> None:
    """Raise UserError unless open_clip knows the architecture ``name``."""
    register_model_configs()
    if open_clip.get_model_config(name) is None:
        raise UserError(f"{key} '{name}' is not an open_clip model{did_you_mean(name, open_clip.list_models())}")


def create_clip(name: str, pretrained: str = "") -> nn.Module:
    """Return an open_clip model with towers ``visual`` and ``text`` and a ``logit_scale``, in float32.

    It is on torch's default device, the CPU if nothing else was chosen; inside
    :func:`~maskclippp.utils.weights.without_weights` its weights are not read.

    Args:
        name: open_clip architecture.
        pretrained: a tag of open_clip, a file (.pt, .safetensors, read as tensors only), a ``maskclippp://`` path, or
            empty for random weights. Weights of a tag that are not on this machine are downloaded.

    Raises:
        UserError: unknown architecture, unknown tag or missing file, no connection, or weights that do not fit.
    """
    check_model_name(name)
    options = open_clip.get_pretrained_cfg(name, pretrained) or {}
    file = None if weights_are_skipped() or not pretrained else _weight_file(name, pretrained)
    if weights_are_skipped() and pretrained and not options and not Path(pretrained).suffix:
        raise _unknown_tag(name, pretrained)
    try:
        return open_clip.create_model(
            name,
            pretrained=file,
            device=torch.get_default_device(),
            force_custom_text=True,
            force_quick_gelu=bool(options.get("quick_gelu", False)),
            weights_only=True,
        )
    # What is in a file of weights can make their readers fail in any way; without a file, a fault is our own.
    except Exception as error:
        if file is None:
            raise
        raise UserError(
            f"the weights PRETRAINED '{pretrained}' ({file}) cannot be loaded into {name}: {first_line(error)}"
        ) from error


def _weight_file(name: str, pretrained: str) -> str:
    """The local file that PRETRAINED means; weights of a tag are downloaded if necessary."""
    file = resolve(pretrained)
    if os.path.isfile(file):
        reason = why_not_weights(file)
        if reason:
            raise UserError(f"PRETRAINED '{pretrained}' ({file}) is no file of weights: {reason}")
        return file
    if not open_clip.get_pretrained_cfg(name, pretrained):
        raise _unknown_tag(name, pretrained)
    return str(find_clip_weights(name, pretrained).fetch())


def _unknown_tag(name: str, pretrained: str) -> UserError:
    tags = open_clip.list_pretrained_tags_by_model(name)
    exist = f"{name} has {', '.join(tags)}" if tags else f"open_clip has no weights of {name}"
    return UserError(f"PRETRAINED '{pretrained}' is neither a file nor a tag of {name}: {exist}")


def eva_model_name(name: str) -> str:
    """Return open_clip's name of an EVA model, ``EVA02-L-14-336`` for the published ``EVA02-CLIP-L-14-336``."""
    return name.replace("-CLIP-", "-", 1)


def eva_pretrained(name: str, pretrained: str) -> str:
    """Return open_clip's tag for ``eva01_clip`` or ``eva02_clip`` (that model's EVA weights); else ``pretrained``."""
    if pretrained not in ("eva01_clip", "eva02_clip"):
        return pretrained
    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        raise UserError(f"PRETRAINED '{pretrained}': open_clip has no weights of {name}")
    return tags[0]


def create_tokenizer(name: str):
    """Return open_clip's tokenizer of the architecture ``name``: list of B strings -> (B, context) long tensor.

    Raises:
        UserError: unknown architecture; a tokenizer (SigLIP's, say) that needs transformers or files from the hub.
    """
    check_model_name(name)
    options = open_clip.get_model_config(name)["text_cfg"].get("tokenizer_kwargs", {})
    packaged = {
        key: resolve(value) for key, value in options.items() if isinstance(value, str) and value.startswith(SCHEME)
    }
    try:
        return open_clip.get_tokenizer(name, **packaged)
    except ImportError as error:
        raise UserError(f"the tokenizer of {name} needs: pip install transformers sentencepiece ({error})") from error
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the tokenizer files of {name} cannot be had from the Hugging Face hub: {reason}") from error
