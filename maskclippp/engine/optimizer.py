"""AdamW with learning rate and weight decay by part, gradient clipping, and the learning-rate schedule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from fvcore.common.param_scheduler import CosineParamScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from maskclippp.utils.errors import UserError, did_you_mean

BACKBONE_PREFIX = "backbone."
VISUAL_PREFIX = "visual_encoder.proxy."
TEXT_PREFIX = "text_encoder."
ENCODER_PREFIXES = (VISUAL_PREFIX, TEXT_PREFIX)
NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
POSITION_TABLES = ("relative_position_bias_table", "absolute_pos_embed")

GradientClipper = Callable[[Iterable[nn.Parameter]], None]


def parameter_options(
    model: nn.Module,
    *,
    base_lr: float,
    weight_decay: float,
    weight_decay_norm: float = 0.0,
    weight_decay_embed: float = 0.0,
    weight_decay_bias: float | None = None,
    visual_encoder_multiplier: float = 1.0,
    text_encoder_multiplier: float = 1.0,
    backbone_multiplier: float = 1.0,
) -> dict[str, tuple[float, float]]:
    """Return (learning rate, weight decay) of every trainable parameter by its name in checkpoints.

    A shared parameter appears once.

    The multipliers hold for what is under ``visual_encoder.proxy``, ``text_encoder`` and ``backbone``. Norm layers and
    embeddings (token embeddings, position tables, and what is called an embedding inside the two encoders) have their
    own decay; so have biases inside the two encoders, unless ``weight_decay_bias`` is None.
    """
    names = checkpoint_names(model)
    options = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            name = names[parameter]
            if not parameter.requires_grad or name in options:
                continue
            leaf = name.rpartition(".")[2]
            rate, decay = base_lr, weight_decay
            if name.startswith(VISUAL_PREFIX):
                rate = base_lr * visual_encoder_multiplier
            elif name.startswith(TEXT_PREFIX):
                rate = base_lr * text_encoder_multiplier
            elif name.startswith(BACKBONE_PREFIX):
                rate = base_lr * backbone_multiplier
            in_encoder = name.startswith(ENCODER_PREFIXES)
            if isinstance(module, NORMS):
                decay = weight_decay_norm
            elif isinstance(module, nn.Embedding) or leaf in POSITION_TABLES or (in_encoder and "embed" in leaf):
                decay = weight_decay_embed
            elif weight_decay_bias is not None and in_encoder and leaf.endswith("bias"):
                decay = weight_decay_bias
            options[name] = (rate, decay)
    return options


def checkpoint_names(model: nn.Module) -> dict[nn.Parameter, str]:
    """Return the name of every parameter in checkpoints: the published one, where the module has another for itself."""
    names: dict[nn.Parameter, str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, nn.Parameter):
            names.setdefault(value, name)
    return names


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters of ``model``, one group per pair of learning rate and weight decay.

    Raises:
        UserError: nothing trains, or another optimizer is asked for.
    """
    if cfg.SOLVER.OPTIMIZER.upper() != "ADAMW":
        raise UserError(f"SOLVER.OPTIMIZER '{cfg.SOLVER.OPTIMIZER}' is not supported; use ADAMW")
    options = parameter_options(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        weight_decay_embed=cfg.SOLVER.WEIGHT_DECAY_EMBED,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        visual_encoder_multiplier=cfg.SOLVER.VISUAL_ENCODER_MULTIPLIER,
        text_encoder_multiplier=cfg.SOLVER.TEXT_ENCODER_MULTIPLIER,
        backbone_multiplier=cfg.SOLVER.BACKBONE_MULTIPLIER,
    )
    if not options:
        raise UserError("no parameter of this model trains; see FINETUNE_TYPE and PSM.NAME under MODEL.MASKCLIPPP")
    parameters = {name: parameter for parameter, name in checkpoint_names(model).items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, option in options.items():
        groups[option].append(parameters[name])
    return torch.optim.AdamW(
        [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
    )


def build_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule, a multiplier on every group's own rate.

    At step t of MAX_ITER = T, after the warm-up, WarmupCosineLR gives end + (1 - end) * (1 + cos(pi * t / T)) / 2 with
    end = BASE_LR_END / BASE_LR; WarmupPolyLR gives (1 - t / T) ^ POLY_LR_POWER, but not less than
    POLY_LR_CONSTANT_ENDING; WarmupMultiStepLR is detectron2's.

    Raises:
        UserError: unknown SOLVER.LR_SCHEDULER_NAME.
    """
    solver, name = cfg.SOLVER, cfg.SOLVER.LR_SCHEDULER_NAME
    if name == "WarmupMultiStepLR":
        return build_lr_scheduler(cfg, optimizer)
    curves: dict[str, Callable[[float], float]] = {
        "WarmupCosineLR": CosineParamScheduler(1.0, solver.BASE_LR_END / solver.BASE_LR),
        "WarmupPolyLR": lambda done: max(max(1 - done, 0.0) ** solver.POLY_LR_POWER, solver.POLY_LR_CONSTANT_ENDING),
    }
    if name not in curves:
        hint = did_you_mean(name, [*curves, "WarmupMultiStepLR"])
        raise UserError(f"SOLVER.LR_SCHEDULER_NAME '{name}' is not known{hint}")
    warmup = min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0)
    schedule = WarmupParamScheduler(curves[name], solver.WARMUP_FACTOR, warmup, solver.WARMUP_METHOD)
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)


def build_gradient_clipper(cfg: CfgNode) -> GradientClipper | None:
    """Return what clips gradients in place, or None if SOLVER.CLIP_GRADIENTS is off.

    "full_model" bounds the 2-norm over all parameters together (NORM_TYPE does not count there, as published), "norm"
    that of each parameter by itself, "value" every entry.

    Raises:
        UserError: unknown CLIP_TYPE.
    """
    node = cfg.SOLVER.CLIP_GRADIENTS
    if not node.ENABLED:
        return None
    bound, norm_type = node.CLIP_VALUE, node.NORM_TYPE

    def by_norm(parameters: Iterable[nn.Parameter]) -> None:
        for parameter in parameters:
            clip_grad_norm_(parameter, bound, norm_type)

    clippers: dict[str, GradientClipper] = {
        "full_model": lambda parameters: clip_grad_norm_(parameters, bound),
        "norm": by_norm,
        "value": lambda parameters: clip_grad_value_(parameters, bound),
    }
    if node.CLIP_TYPE not in clippers:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE '{node.CLIP_TYPE}' is not known{did_you_mean(node.CLIP_TYPE, clippers)}"
        )
    return clippers[node.CLIP_TYPE]
