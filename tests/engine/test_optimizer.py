"""Learning rates, weight decays and schedule against published numbers; clipping against torch's own."""

from __future__ import annotations

import json
import math

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

import maskclippp.methods  # noqa: F401  (registers the meta-architectures)
from maskclippp.config import load_config
from maskclippp.engine.optimizer import (
    WeightDecay,
    build_gradient_clipper,
    build_optimizer,
    build_scheduler,
    checkpoint_names,
    parameter_options,
)
from maskclippp.structures import ParameterRule
from maskclippp.utils.errors import UserError

NORM_NAMES = {"ln_1", "ln_2", "norm", "trunk.stem.1", *(f"stages.{index}.downsample.0" for index in range(4))}


def skeleton(names) -> nn.Module:
    """A module tree with parameters of these names; layers whose names are those of norms are norms."""
    root = nn.Module()
    for name in names:
        *path, leaf = name.split(".")
        module = root
        for depth, part in enumerate(path):
            if part not in dict(module.named_children()):
                here = ".".join(path[: depth + 1])
                is_norm = any(here == norm or here.endswith(f".{norm}") for norm in NORM_NAMES)
                module.add_module(part, nn.LayerNorm(1, elementwise_affine=False) if is_norm else nn.Module())
            module = getattr(module, part)
        module.register_parameter(leaf, nn.Parameter(torch.zeros(1)))
    return root


def rules(visual: float, text: float) -> tuple[ParameterRule, ...]:
    """Those of MaskCLIP++."""
    return (
        ParameterRule("visual_encoder.proxy.", visual, decay_by_name=True),
        ParameterRule("text_encoder.", text, decay_by_name=True),
    )


@pytest.mark.parametrize("case", ["train_step_eva_batch", "train_step_eva_wtext", "train_step_convnext"])
def test_published_rates_and_decays(shared_dir, case):
    golden = json.loads((shared_dir / "golden" / f"{case}.json").read_text())["optimizer"]
    expected = golden["lr_and_weight_decay_per_parameter"]
    kinds = ("WEIGHT_DECAY", "WEIGHT_DECAY_NORM", "WEIGHT_DECAY_EMBED", "WEIGHT_DECAY_BIAS")
    found = parameter_options(
        skeleton(expected),
        rules(golden["VISUAL_ENCODER_MULTIPLIER"], golden["TEXT_ENCODER_MULTIPLIER"]),
        base_lr=golden["BASE_LR"],
        decay=WeightDecay(*(golden[kind] for kind in kinds)),
    )
    assert found == {name: tuple(option) for name, option in expected.items()}


def test_kinds_of_parameters():
    model = nn.ModuleDict(
        {
            "visual_encoder": nn.ModuleDict({"proxy": nn.Linear(1, 1), "other": nn.Linear(1, 1)}),
            "text_encoder": nn.ModuleDict({"table": nn.Embedding(2, 1), "fixed": nn.Linear(1, 1)}),
            "psm": nn.ModuleList([nn.Linear(1, 1), nn.GroupNorm(1, 1)]),
        }
    )
    model["text_encoder"]["fixed"].requires_grad_(False)
    model["psm"].append(model["psm"][0])
    found = parameter_options(model, rules(0.01, 0.02), base_lr=1.0, decay=WeightDecay(0.5, 0.1, 0.2, 0.3))
    assert found == {
        "visual_encoder.proxy.weight": (0.01, 0.5),
        "visual_encoder.proxy.bias": (0.01, 0.3),
        "visual_encoder.other.weight": (1.0, 0.5),
        "visual_encoder.other.bias": (1.0, 0.5),
        "text_encoder.table.weight": (0.02, 0.2),
        "psm.0.weight": (1.0, 0.5),
        "psm.0.bias": (1.0, 0.5),
        "psm.1.weight": (1.0, 0.1),
        "psm.1.bias": (1.0, 0.1),
    }


def test_published_names_decide():
    """A module may have other names for itself than in checkpoints."""
    model = nn.ModuleDict({"own": nn.Linear(1, 1, bias=False)})
    model.register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update({"visual_encoder.proxy.pos_embed": state.pop("own.weight")})
    )
    assert checkpoint_names(model) == {model["own"].weight: "visual_encoder.proxy.pos_embed"}
    assert parameter_options(model, rules(0.1, 1.0), base_lr=1.0, decay=WeightDecay(0.5)) == {
        "visual_encoder.proxy.pos_embed": (0.1, 0.0)
    }


def config(*overrides: str):
    return load_config("", ["SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.WARMUP_ITERS", "0", *overrides])


@pytest.fixture
def model():
    return nn.ModuleDict({"visual_encoder": nn.ModuleDict({"proxy": nn.Linear(2, 2)}), "psm": nn.Linear(2, 2)})


def test_cosine_from_base_to_end_times_each_group(model):
    cfg = config("SOLVER.BASE_LR", "2e-4", "SOLVER.BASE_LR_END", "1e-5", "SOLVER.MAX_ITER", "200")
    optimizer = build_optimizer(cfg, model, rules(0.001, 0.001))
    scheduler = build_scheduler(cfg, optimizer)
    for step in range(201):
        expected = 1e-5 + (2e-4 - 1e-5) * (1 + math.cos(math.pi * step / 200)) / 2
        rates = sorted(group["lr"] for group in optimizer.param_groups)
        assert rates == pytest.approx([expected * 0.001, expected], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_warm_up(model):
    cfg = config(
        "SOLVER.BASE_LR", "1.0", "SOLVER.MAX_ITER", "100", "SOLVER.WARMUP_ITERS", "10", "SOLVER.WARMUP_FACTOR", "0.1"
    )
    optimizer = build_optimizer(cfg, model)
    scheduler = build_scheduler(cfg, optimizer)
    rates = []
    for _ in range(12):
        rates.append(max(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    end = (1 + math.cos(math.pi * 0.1)) / 2
    assert rates[:10] == pytest.approx([0.1 + (end - 0.1) * step / 10 for step in range(10)], abs=1e-6)
    assert rates[11] == pytest.approx((1 + math.cos(math.pi * 0.11)) / 2)


def test_clipping(model):
    parameters = list(model.parameters())

    def clipped(*overrides):
        for index, parameter in enumerate(parameters):
            parameter.grad = torch.full_like(parameter, index + 1.0)
        build_gradient_clipper(config("SOLVER.CLIP_GRADIENTS.ENABLED", "True", *overrides))(parameters)
        return [parameter.grad for parameter in parameters]

    whole = clipped("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.01")
    assert torch.cat([grad.flatten() for grad in whole]).norm().item() == pytest.approx(0.01, rel=1e-4)
    assert (whole[3] / whole[0].mean()).mean().item() == pytest.approx(4.0)
    each = clipped("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "norm", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.5")
    assert [grad.norm().item() for grad in each] == pytest.approx([0.5] * 4, rel=1e-4)
    assert [grad.max().item() for grad in clipped()] == [1.0] * 4
    assert build_gradient_clipper(config()) is None


def test_one_step_is_adamw_on_the_clipped_gradient(model):
    cfg = config(
        "SOLVER.BASE_LR", "0.1", "SOLVER.WEIGHT_DECAY", "0.05", "SOLVER.CLIP_GRADIENTS.ENABLED", "True",
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "full_model", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.01",
    )  # fmt: skip
    optimizer = build_optimizer(cfg, model)
    before = model["psm"].weight.detach().clone()
    sum(parameter.sum() for parameter in model.parameters()).backward()
    build_gradient_clipper(cfg)(model.parameters())
    optimizer.step()
    gradient = 0.01 / math.sqrt(12)
    expected = before * (1 - 0.1 * 0.05) - 0.1 * gradient / (gradient + 1e-8)
    torch.testing.assert_close(model["psm"].weight.detach(), expected)


@pytest.mark.parametrize(
    ("build", "overrides", "message"),
    [
        (build_optimizer, ["SOLVER.OPTIMIZER", "ADAM"], "SOLVER.OPTIMIZER 'ADAM' is not supported; did you mean ADAMW"),
        (build_scheduler, ["SOLVER.LR_SCHEDULER_NAME", "CosineLR"], "did you mean WarmupCosineLR"),
    ],
)
def test_unknown_names(model, build, overrides, message):
    cfg = config(*overrides)
    with pytest.raises(UserError, match=message):
        build(cfg, model if build is build_optimizer else torch.optim.SGD(model.parameters()))
    with pytest.raises(UserError, match="CLIP_TYPE 'fullmodel' is not known; did you mean full_model"):
        build_gradient_clipper(
            config("SOLVER.CLIP_GRADIENTS.ENABLED", "True", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "fullmodel")
        )


def test_nothing_to_train(model):
    with pytest.raises(UserError, match="no parameter of this model trains"):
        build_optimizer(config(), model.requires_grad_(False))


def test_published_rates_and_decays_of_mask2former():
    """Backbone at a tenth; no decay for norms, embeddings and position tables, but for biases and the level table."""
    cfg = load_config("configs/mask2former/mask2former_coco-pan_swin-tiny_bs16_50ep.yaml", ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        model = build_model(cfg)
    optimizer = build_optimizer(cfg, model, model.parameter_rules)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    head = "sem_seg_head."
    expected = {
        "backbone.layers.0.blocks.1.attn.qkv.weight": (1e-5, 0.05),
        "backbone.layers.0.blocks.1.attn.qkv.bias": (1e-5, 0.05),
        "backbone.layers.0.blocks.1.attn.relative_position_bias_table": (1e-5, 0.0),
        "backbone.norm2.weight": (1e-5, 0.0),
        f"{head}pixel_decoder.transformer.level_embed": (1e-4, 0.05),
        f"{head}pixel_decoder.input_proj.0.1.weight": (1e-4, 0.0),
        f"{head}pixel_decoder.adapter_1.norm.bias": (1e-4, 0.0),
        f"{head}predictor.level_embed.weight": (1e-4, 0.0),
        f"{head}predictor.query_feat.weight": (1e-4, 0.0),
        f"{head}predictor.class_embed.bias": (1e-4, 0.05),
        f"{head}predictor.mask_embed.layers.0.weight": (1e-4, 0.05),
    }
    assert {name: found[name] for name in expected} == {
        name: (pytest.approx(rate), decay) for name, (rate, decay) in expected.items()
    }


def test_poly_schedule_has_an_ending(model):
    cfg = config(
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.MAX_ITER", "100", "SOLVER.BASE_LR", "1.0"),
        *("SOLVER.POLY_LR_CONSTANT_ENDING", "0.1", "SOLVER.VISUAL_ENCODER_MULTIPLIER", "1.0"),
    )
    optimizer = build_optimizer(cfg, model)
    scheduler = build_scheduler(cfg, optimizer)
    for step in range(101):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(max((1 - step / 100) ** 0.9, 0.1))
        optimizer.step()
        scheduler.step()


def test_poly_schedule_with_an_added_floor(model):
    """As "Extract Free Dense Labels from CLIP" trains: the floor is added, not a bound."""
    cfg = config(
        *("SOLVER.LR_SCHEDULER_NAME", "WarmupPolyLR", "SOLVER.MAX_ITER", "80", "SOLVER.BASE_LR", "0.01"),
        *("SOLVER.BASE_LR_END", "1e-4", "SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", "0.9"),
    )
    optimizer = build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.param_groups[0]["momentum"] == 0.9
    scheduler = build_scheduler(cfg, optimizer)
    for step in range(81):
        assert optimizer.param_groups[0]["lr"] == pytest.approx((0.01 - 1e-4) * (1 - step / 80) ** 0.9 + 1e-4)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("SOLVER.LR_SCHEDULER_NAME", "WarmupConstantLR"), [1.0] * 10),
        (
            ("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", "(4, 7)"),
            [1.0] * 4 + [0.1] * 3 + [0.01] * 3,
        ),
    ],
)
def test_constant_and_steps(model, overrides, expected):
    optimizer = build_optimizer(config("SOLVER.MAX_ITER", "10", "SOLVER.BASE_LR", "1.0", *overrides), model)
    scheduler = build_scheduler(config("SOLVER.MAX_ITER", "10", "SOLVER.BASE_LR", "1.0", *overrides), optimizer)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(expected)
