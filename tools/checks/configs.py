"""Check config files: names, a model on the meta device, and the published values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from torch import nn

from maskclippp.config import default_config, load_config
from maskclippp.config.load import coerce, get_value, inheritance, list_keys
from maskclippp.criteria.build import CRITERION_REGISTRY
from maskclippp.data.datasets import get_metadata, register_all
from maskclippp.data.mappers import MAPPERS
from maskclippp.data.vocabularies.templates import get_templates
from maskclippp.engine.optimizer import build_gradient_clipper, build_optimizer, build_scheduler
from maskclippp.evaluation.build import evaluator_types
from maskclippp.mask_generators import MASK_GENERATOR_REGISTRY
from maskclippp.methods import MaskCLIPpp
from maskclippp.similarity.build import PSM_REGISTRY
from maskclippp.text_encoders import TEXT_ENCODER_REGISTRY
from maskclippp.utils.errors import UserError, did_you_mean
from maskclippp.utils.weights import without_weights
from maskclippp.visual_encoders import VISUAL_ENCODER_REGISTRY

OURS = "MODEL.MASKCLIPPP"
# What may be "none" in a model that is built.
OPTIONAL = (f"{OURS}.VISUAL_ENCODER_F.NAME", f"{OURS}.TEXT_ENCODER_F.NAME", f"{OURS}.SEGMENTOR.NAME")
SHOWN = 3


@dataclass
class ConfigReport:
    """What was found in one file.

    Attributes:
        path: the file.
        problems: why it fails; empty: it is fine.
        notes: what a reader of "OK" should know.
        compared: whether it was held against published values.
    """

    path: Path
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: bool = False

    def __str__(self) -> str:
        """One line."""
        if self.problems:
            reasons = [" ".join(problem.split()) for problem in self.problems]
            return f"{self.path} FAIL {'; '.join(reasons)}"
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"{self.path} OK{notes}"


def check_configs(paths: Sequence[str | Path], published: str | Path | None = None) -> Iterator[ConfigReport]:
    """Check config files, and all ``*.yaml`` files below folders.

    Each file is loaded, the names in it are resolved, its model is built on the meta device without weights, and its
    values are compared with the published ones. Of files that only serve as a ``_BASE_``, keys and types are checked.

    Args:
        paths: files and folders.
        published: JSON file with the published values: "common", and "configs" by path.

    Raises:
        UserError: a path that is not there, a folder without configs, or a JSON file of another kind.
    """
    files = _expand(paths)
    values = _published_values(published) if published else {}
    bases = _bases(files)
    register_all()
    return (_check(path, bases, values) for path in files)


def _expand(paths: Iterable[str | Path]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise UserError(f"{path}: {'no configs (*.yaml) in this folder' if path.is_dir() else 'no such file'}")
        files += found
    return list(dict.fromkeys(files))


def _bases(files: Iterable[Path]) -> set[Path]:
    """Files that others are based on, as far as they can be read."""
    bases: set[Path] = set()
    for path in files:
        try:
            bases.update(inheritance(path)[:-1])
        except UserError:
            continue
    return bases


def _published_values(path: str | Path) -> dict[str, dict[str, Any]]:
    """Values by key of each published config."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: content["common"] | values for name, values in content["configs"].items()}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a list of published values ('common', and 'configs' by path)") from None


def _check(path: Path, bases: set[Path], published: dict[str, dict[str, Any]]) -> ConfigReport:
    report = ConfigReport(path)
    try:
        cfg = load_config(path)
        if path.resolve() in bases and not _is_complete(cfg):
            report.notes.append("a base of other configs: keys and types checked")
            return report
        name = next((name for name in published if path.resolve().as_posix().endswith(f"/{name}")), None)
        if name is not None:
            report.compared = True
            report.problems += compare_values(cfg, published[name])
        report.problems += _unknown_names(cfg)
        if not report.problems:
            build_on_meta(cfg)
    except Exception as error:  # one bad config must not end the run
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        report.problems.append(text)
    return report


def _is_complete(cfg: CfgNode) -> bool:
    has_encoder = not _has_our_parts(cfg) or cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER.NAME != "none"
    return cfg.MODEL.META_ARCHITECTURE in _our_methods() and has_encoder


def _our_methods() -> list[str]:
    return [name for name, method in META_ARCH_REGISTRY if method.__module__.startswith("maskclippp.")]


def _has_our_parts(cfg: CfgNode) -> bool:
    """Whether the method is made of the parts below MODEL.MASKCLIPPP; others do not read that node."""
    name = cfg.MODEL.META_ARCHITECTURE
    return name in _our_methods() and issubclass(META_ARCH_REGISTRY.get(name), MaskCLIPpp)


def compare_values(cfg: CfgNode, expected: dict[str, Any]) -> list[str]:
    """Return what differs from the published values; of keys that are not among them, from the defaults."""
    default, wrong = default_config(), []
    for key in list_keys(default):
        value, wanted = get_value(cfg, key), get_value(default, key)
        wanted = coerce(key, expected[key], default=wanted) if key in expected else wanted
        if value != wanted:
            wrong.append(f"{key} is {value!r}, published {wanted!r}")
    unknown = sorted(set(expected) - set(list_keys(default)))
    wrong += [f"the published key {key} is unknown" for key in unknown]
    more = [f"{len(wrong) - SHOWN} more differences"] if len(wrong) > SHOWN else []
    return wrong[:SHOWN] + more


def _named_parts(cfg: CfgNode) -> Iterator[tuple[str, str, str, list[str]]]:
    """Every registered name: its key, what it is, the name, and the names that exist."""
    parts = {
        f"{OURS}.VISUAL_ENCODER.NAME": ("visual encoder", VISUAL_ENCODER_REGISTRY),
        f"{OURS}.VISUAL_ENCODER_F.NAME": ("visual encoder", VISUAL_ENCODER_REGISTRY),
        f"{OURS}.TEXT_ENCODER.NAME": ("text encoder", TEXT_ENCODER_REGISTRY),
        f"{OURS}.TEXT_ENCODER_F.NAME": ("text encoder", TEXT_ENCODER_REGISTRY),
        f"{OURS}.PSM.NAME": ("similarity head", PSM_REGISTRY),
        f"{OURS}.CRITERION.NAME": ("criterion", CRITERION_REGISTRY),
        f"{OURS}.SEGMENTOR.NAME": ("mask generator", MASK_GENERATOR_REGISTRY),
    }
    mapper = {"INPUT.DATASET_MAPPER_NAME": ("dataset mapper", MAPPERS)}
    method = cfg.MODEL.META_ARCHITECTURE
    yield "MODEL.META_ARCHITECTURE", "meta-architecture", method, _our_methods()
    for key, (kind, registry) in ((parts if _has_our_parts(cfg) else {}) | mapper).items():
        yield key, kind, get_value(cfg, key), [name for name, _ in registry]


def _unknown_names(cfg: CfgNode) -> list[str]:
    problems = []
    for key, kind, name, valid in _named_parts(cfg):
        absent = name.lower() == "none" and key in OPTIONAL
        if name not in valid and not absent:
            problems.append(f"{key} '{name}' is no {kind}{did_you_mean(name, valid)}")
    node = cfg.MODEL.MASKCLIPPP
    for templates in (node.TEMPLATES, node.TEMPLATES_F) if _has_our_parts(cfg) else ():
        problems += _message(get_templates, templates)
    for key in ("TRAIN", "TEST"):
        if not cfg.DATASETS[key]:
            problems.append(f"DATASETS.{key} is empty")
        for name in cfg.DATASETS[key]:
            problems += _message(get_metadata, name) or (_without_evaluator(cfg, name) if key == "TEST" else [])
    return list(dict.fromkeys(problems))


def _message(look_up: Any, name: str) -> list[str]:
    try:
        look_up(name)
    except UserError as error:
        return [str(error)]
    return []


def _without_evaluator(cfg: CfgNode, dataset: str) -> list[str]:
    kind = get_metadata(dataset).get("evaluator_type", None)
    kinds = evaluator_types()
    if cfg.MODEL.MASKCLIPPP.TEST.MASK_ACC or kind in kinds:
        return []
    return [f"dataset '{dataset}' (type '{kind}') has no evaluator{did_you_mean(str(kind), kinds)}"]


def build_on_meta(cfg: CfgNode) -> nn.Module:
    """Build the model of a config, its optimizer and schedule on the meta device: without memory or weights.

    Args:
        cfg: config; it stays as it is.

    Raises:
        UserError: anything wrong in the config.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    if cfg.MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR:
        # Masks are data, as pictures are: whether they are there is for a run to say.
        cfg.MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR = os.curdir
    with without_weights(), torch.device("meta"):
        model = build_model(cfg)
    if any(parameter.requires_grad for parameter in model.parameters()):
        build_scheduler(cfg, build_optimizer(cfg, model, model.parameter_rules))
        build_gradient_clipper(cfg)
    return model
