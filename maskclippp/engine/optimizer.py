"""Optimizer with learning rate and weight decay by part, gradient clipping, and the learning-rate schedule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from fvcore.common.param_scheduler import CosineParamScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from maskclippp.structures import ParameterRule
from maskclippp.structures.parameter_rule import rule_for
from maskclippp.utils.errors import UserError, did_you_mean

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
POSITION_TABLES = ("relative_position_bias_table", "absolute_pos_embed")

GradientClipper = Callable[[Iterable[nn.Parameter]], None]


@dataclass(frozen=True)
class WeightDecay:
    """Weight decay by kind of parameter.

    Attributes:
        weights: of everything else.
        norms: of norm layers.
        embeddings: of token embeddings and position tables, and of what is called an embedding where the method's rule
            says so.
        biases: of biases where the method's rule says so; None: that of ``weights``.
    """

    weights: float
    norms: float = 0.0
    embeddings: float = 0.0
    biases: float | None = None

    def of(self, module: nn.Module, leaf: str, rule: ParameterRule) -> float:
        """Return the decay of a module's own parameter ``leaf``."""
        if isinstance(module, NORMS):
            return self.norms
        if isinstance(module, nn.Embedding) or leaf in POSITION_TABLES or (rule.decay_by_name and "embed" in leaf):
            return self.embeddings
        if self.biases is not None and rule.decay_by_name and leaf.endswith("bias"):
            return self.biases
        return self.weights


def parameter_options(
    model: nn.Module, rules: Sequence[ParameterRule], *, base_lr: float, decay: WeightDecay
) -> dict[str, tuple[float, float]]:
    """Return (learning rate, weight decay) of every trainable parameter by its name in checkpoints.

    A shared parameter appears once.

    Args:
        model: whose parameters.
        rules: of the method.
        base_lr: learning rate without a rule.
        decay: by kind of parameter.
    """
    names = checkpoint_names(model)
    options = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            name = names[parameter]
            if parameter.requires_grad and name not in options:
                rule = rule_for(name, rules)
                options[name] = (base_lr * rule.rate, decay.of(module, name.rpartition(".")[2], rule))
    return options


def checkpoint_names(model: nn.Module) -> dict[nn.Parameter, str]:
    """Return the name of every parameter in checkpoints: the published one, where the module has another for itself."""
    names: dict[nn.Parameter, str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if isinstance(value, nn.Parameter):
            names.setdefault(value, name)
    return names


def build_optimizer(cfg: CfgNode, model: nn.Module, rules: Sequence[ParameterRule] = ()) -> torch.optim.Optimizer:
    """Return the optimizer over the trainable parameters, one group per pair of learning rate and weight decay.

    Args:
        cfg: SOLVER.OPTIMIZER is "ADAMW", or "SGD" with MOMENTUM and NESTEROV.
        model: whose parameters.
        rules: of the method.

    Raises:
        UserError: nothing trains, or another optimizer is asked for.
    """
    solver = cfg.SOLVER
    makers: dict[str, Callable[[list[dict]], torch.optim.Optimizer]] = {
        "ADAMW": torch.optim.AdamW,
        "SGD": partial(torch.optim.SGD, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV),
    }
    name = solver.OPTIMIZER.upper()
    if name not in makers:
        raise UserError(f"SOLVER.OPTIMIZER '{solver.OPTIMIZER}' is not supported{did_you_mean(name, makers)}")
    decay = WeightDecay(
        solver.WEIGHT_DECAY, solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_EMBED, solver.WEIGHT_DECAY_BIAS
    )
    options = parameter_options(model, rules, base_lr=solver.BASE_LR, decay=decay)
    if not options:
        raise UserError("no parameter of this model trains; see FINETUNE_TYPE and PSM.NAME under MODEL.MASKCLIPPP")
    parameters = {name: parameter for parameter, name in checkpoint_names(model).items()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for parameter_name, option in options.items():
        groups[option].append(parameters[parameter_name])
    return makers[name](
        [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]
    )


def build_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule, a multiplier on every group's own rate.

    At step t of MAX_ITER = T, after the warm-up, with end = BASE_LR_END / BASE_LR: WarmupCosineLR gives
    end + (1 - end) * (1 + cos(pi * t / T)) / 2; WarmupPolyLR gives end + (1 - end) * (1 - t / T) ^ POLY_LR_POWER, but
    not less than POLY_LR_CONSTANT_ENDING; WarmupConstantLR gives 1; WarmupMultiStepLR is detectron2's.

    Raises:
        UserError: unknown SOLVER.LR_SCHEDULER_NAME.
    """
    solver, name = cfg.SOLVER, cfg.SOLVER.LR_SCHEDULER_NAME
    if name == "WarmupMultiStepLR":
        return build_lr_scheduler(cfg, optimizer)
    end = solver.BASE_LR_END / solver.BASE_LR

    def poly(done: float) -> float:
        falling = end + (1 - end) * max(1 - done, 0.0) ** solver.POLY_LR_POWER
        return max(falling, solver.POLY_LR_CONSTANT_ENDING)

    curves: dict[str, Callable[[float], float]] = {
        "WarmupCosineLR": CosineParamScheduler(1.0, end),
        "WarmupPolyLR": poly,
        "WarmupConstantLR": lambda done: 1.0,
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
