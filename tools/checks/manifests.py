"""Hold a model against the key list of a published checkpoint, without any weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

import maskclippp.methods  # noqa: F401  (registers the meta-architecture)
from maskclippp.config import load_config
from maskclippp.data.datasets import register_all
from maskclippp.engine.optimizer import checkpoint_names
from maskclippp.utils.checkpoint_io import compare_keys
from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import without_weights

from .generator_manifests import PUBLISHED, check_generator

# The parts that a checkpoint of MaskCLIP++ does not hold.
WITHOUT_GENERATOR = (
    "MODEL.MASKCLIPPP.SEGMENTOR.NAME",
    "none",
    "MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME",
    "none",
    "MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME",
    "none",
    "MODEL.DEVICE",
    "meta",
)
SHOWN = 3


@dataclass(frozen=True)
class Verdict:
    """What came out for one manifest: "OK", "FAIL" or "UNSUPPORTED", and why."""

    name: str
    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        """One line."""
        return " ".join(part for part in (self.name, self.verdict, self.reason) if part)


def check_manifests(folder: str | Path) -> Iterator[Verdict]:
    """Check every manifest of a folder, in the order of names.

    Raises:
        UserError: no folder, or no manifests in it.
    """
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise UserError(f"{folder}: no manifests (*.json) here")
    register_all()
    return (check_manifest(path) for path in paths)


def check_manifest(path: Path) -> Verdict:
    """Check one manifest; whatever goes wrong in it is a failure with its reason."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        config = manifest.get("details", {}).get("config", "")
        summary = f"{manifest['num_keys']} keys"
        if path.stem in PUBLISHED:
            problems, summary = check_generator(PUBLISHED[path.stem], manifest)
        elif "maskclippp" in Path(config).name:
            problems = find_problems(build_on_meta(f"configs/{config}"), manifest)
        else:
            return Verdict(path.stem, "UNSUPPORTED", "not a checkpoint of MaskCLIP++ or of a mask generator")
    except Exception as error:  # one bad manifest must not end the run
        problems = [f"{type(error).__name__}: {' '.join(str(error).split())}"]
    return Verdict(path.stem, "FAIL", "; ".join(problems)) if problems else Verdict(path.stem, "OK", summary)


def build_on_meta(config: str) -> nn.Module:
    """Build the model of a config, without its generator, on the meta device."""
    cfg = load_config(config, WITHOUT_GENERATOR)
    with without_weights(), torch.device("meta"):
        return build_model(cfg)


def find_problems(model: nn.Module, manifest: dict[str, Any]) -> list[str]:
    """Load a state dict of the manifest's keys, compare what would be saved, and which parameters train."""
    shapes = {name: (tuple(shape), dtype) for name, shape, dtype in manifest["keys"]}
    weights = {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device="meta") for name, (shape, dtype) in shapes.items()
    }
    fit = compare_keys(model.state_dict(), weights, lambda name: name.startswith(model.checkpoint_prefixes))
    problems = [
        _listing(kind, getattr(fit, kind)) for kind in ("missing", "unexpected", "mismatched") if getattr(fit, kind)
    ]
    if problems:
        return problems
    refused = model.load_state_dict(weights, strict=False).unexpected_keys
    if refused:
        problems.append(_listing("refused when loading", refused))
    saved = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(model.checkpoint_prefixes)}
    problems += _differences("saved", {name: _describe(tensor) for name, tensor in saved.items()}, shapes)
    trains = [name for parameter, name in checkpoint_names(model).items() if parameter.requires_grad]
    return problems + _differences("trains", dict.fromkeys(trains), dict.fromkeys(manifest["trainable_parameters"]))


def _describe(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")


def _differences(what: str, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    extra = [name for name in ours if name not in theirs]
    absent = [name for name in theirs if name not in ours]
    other = [
        f"{name} {ours[name]} for {theirs[name]}" for name in ours if name in theirs and ours[name] != theirs[name]
    ]
    named = {f"{what} too much": extra, f"{what} too little": absent, f"{what} differently": other}
    return [_listing(kind, names) for kind, names in named.items() if names]


def _listing(kind: str, names: list[str]) -> str:
    return f"{kind} ({len(names)}): {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
