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
POSITION_TABLES = ("relative_position_bias_table",)

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
) -> dict[str, tuple[float, float]]:
    """Return (learning rate, weight decay) of every trainable parameter by its name in checkpoints.

    A shared parameter appears once.

    The multipliers hold for what is under ``visual_encoder.proxy`` and ``text_encoder``. Norm layers and embeddings
    (token embeddings, and parameters called so, such as position embeddings) have their own decay; so have biases
    inside the two encoders, unless ``weight_decay_bias`` is None.
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
            if isinstance(module, NORMS):
                decay = weight_decay_norm
            elif isinstance(module, nn.Embedding) or "embed" in leaf or leaf in POSITION_TABLES:
                decay = weight_decay_embed
            elif weight_decay_bias is not None and leaf.endswith("bias") and name.startswith(ENCODER_PREFIXES):
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
    """Return the schedule, a multiplier on every group's own rate: detectron2's, with the cosine ending at BASE_LR_END.

    At step t of MAX_ITER, WarmupCosineLR gives end + (1 - end) * (1 + cos(pi * t / MAX_ITER)) / 2 with
    end = BASE_LR_END / BASE_LR.

    Raises:
        UserError: unknown SOLVER.LR_SCHEDULER_NAME.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR":
        schedule = WarmupParamScheduler(
            CosineParamScheduler(1.0, solver.BASE_LR_END / solver.BASE_LR),
            solver.WARMUP_FACTOR,
            min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
            solver.WARMUP_METHOD,
        )
        return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR":
        return build_lr_scheduler(cfg, optimizer)
    valid = ("WarmupCosineLR", "WarmupMultiStepLR")
    hint = did_you_mean(solver.LR_SCHEDULER_NAME, valid)
    raise UserError(f"SOLVER.LR_SCHEDULER_NAME '{solver.LR_SCHEDULER_NAME}' is not known{hint}")


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
