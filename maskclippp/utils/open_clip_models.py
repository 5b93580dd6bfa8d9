"""CLIP models, towers and tokenizers from open_clip, by name and weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import open_clip
from torch import nn

from .errors import UserError, did_you_mean
from .paths import ASSETS, SCHEME, resolve


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
    """Return an open_clip model with towers ``visual`` and ``text`` and a ``logit_scale``, on the CPU in float32.

    Args:
        name: open_clip architecture.
        pretrained: a tag of open_clip, a file (.pt, .safetensors, read as tensors only), a ``maskclippp://`` path, or
            empty for random weights.

    Raises:
        UserError: unknown architecture, unknown tag or missing file, or weights that do not fit.
    """
    check_model_name(name)
    weights = resolve(pretrained)
    quick_gelu = (
        bool((open_clip.get_pretrained_cfg(name, weights) or {}).get("quick_gelu", False)) if weights else False
    )
    if weights and not Path(weights).is_file() and not open_clip.get_pretrained_cfg(name, weights):
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise UserError(
            f"PRETRAINED '{pretrained}' of {name} is neither a file nor a tag{did_you_mean(pretrained, tags)}"
        )
    try:
        return open_clip.create_model(
            name, pretrained=weights or None, force_custom_text=True, force_quick_gelu=quick_gelu, weights_only=True
        )
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the weights PRETRAINED '{pretrained}' cannot be loaded into {name}: {reason}") from error


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
    """Return open_clip's tokenizer of the architecture ``name``: list of B strings -> (B, context) long tensor."""
    check_model_name(name)
    options = open_clip.get_model_config(name)["text_cfg"].get("tokenizer_kwargs", {})
    packaged = {
        key: resolve(value) for key, value in options.items() if isinstance(value, str) and value.startswith(SCHEME)
    }
    return open_clip.get_tokenizer(name, **packaged)
