"""States in a checkpoint that do not fit: one line before the first step, instead of a traceback at it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.utils.errors import UserError
from tests.common import BareMethod


class Linear(BareMethod):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2, 3))
        self.bias = nn.Parameter(torch.rand(2))


def parts() -> tuple[Linear, torch.optim.Optimizer, Any]:
    model = Linear()
    optimizer = torch.optim.AdamW([{"params": [model.weight], "lr": 0.1}, {"params": [model.bias]}])
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5)


def step(model: Linear, optimizer: torch.optim.Optimizer, scheduler: Any) -> None:
    nn.functional.linear(torch.ones(1, 3), model.weight, model.bias).sum().backward()
    optimizer.step()
    scheduler.step()


@pytest.fixture
def good() -> dict[str, Any]:
    model, optimizer, scheduler = parts()
    step(model, optimizer, scheduler)
    states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    return copy.deepcopy({"model": dict(model.state_dict()), **states, "iteration": 0})


def load(tmp_path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "w.pth")
    model, optimizer, scheduler = parts()
    checkpointer = Checkpointer(model, str(tmp_path), optimizer=optimizer, scheduler=scheduler)
    assert checkpointer.load(str(tmp_path / "w.pth")) == {"iteration": content["iteration"]}
    step(model, optimizer, scheduler)


def test_a_good_state_is_continued(tmp_path, good):
    load(tmp_path, good)
    del good["optimizer"]["param_groups"][0]["foreach"]  # older releases of torch did not write it
    load(tmp_path, good)


def damage(good: dict[str, Any], where: str, value: Any) -> None:
    *path, last = [int(part) if part.isdigit() else part for part in where.split("/")]
    node = good
    for part in path:
        node = node[part]
    if value is ...:
        del node[last]
    else:
        node[last] = value


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("optimizer", [1]),
        ("optimizer", 5),
        ("optimizer/state", [1]),
        ("optimizer/param_groups", ...),
        ("optimizer/param_groups/0", ...),
        ("optimizer/param_groups/0", "x"),
        ("optimizer/param_groups/0/lr", "fast"),
        ("optimizer/param_groups/0/lr", float("nan")),
        ("optimizer/param_groups/0/lr", ...),
        ("optimizer/param_groups/1/betas", [0.9]),
        ("optimizer/param_groups/1/betas", ...),
        ("optimizer/param_groups/1/betas", (0.9, 1.0)),
        ("optimizer/param_groups/1/lr", -1),
        ("optimizer/param_groups/1/params", [0, 1, 2]),
        ("optimizer/param_groups/1/params", ["a"]),
        ("optimizer/param_groups/1/params", ...),
        ("optimizer/state/0", 7),
        ("optimizer/state/0/exp_avg", ...),
        ("optimizer/state/0/exp_avg", torch.zeros(7, 7)),
        ("optimizer/state/0/exp_avg_sq", [0.0]),
        ("optimizer/state/0/step", torch.zeros(2)),
        ("optimizer/state/0/step", "x"),
        ("optimizer/state/9", {}),
        ("scheduler", "x"),
        ("scheduler/last_epoch", "soon"),
        ("scheduler/base_lrs", 3),
        ("scheduler/base_lrs", ["x"]),
        ("scheduler/last_epoch", ...),
        ("scheduler/step", 5),
        ("iteration", ...),
        ("iteration", -1),
        ("iteration", "5"),
        ("iteration", True),
        ("iteration", [1]),
    ],
)
def test_a_malformed_state_is_refused_in_one_line(tmp_path, good, where, value):
    damage(good, where, value)
    with pytest.raises(UserError) as caught:
        load(tmp_path, good)
    text = str(caught.value)
    assert f"w.pth: its '{where.split('/')[0]}'" in text and "\n" not in text
