"""Kinds of the similarity and criteria rooms."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from ...criteria import build_criterion
from ...similarity import build_psm
from .case import Case, Results, golden_kind
from .nodes import node_from


@golden_kind("psm_linear", tolerance=5e-6)
@torch.no_grad()
def psm_linear(case: Case) -> Results:
    """LinearPSM as two maps, in the order of the stored result; folding them must change no more than rounding does."""
    psm = _psm(case, "LinearPSM")
    similarity = case.input("corrs")
    folded, unfolded = psm(similarity), psm.train()(similarity)
    torch.testing.assert_close(folded, unfolded, rtol=1e-5, atol=1e-6 * float(unfolded.abs().max()))
    yield "corrs", unfolded


@golden_kind("psm_dummy", tolerance=5e-6)
@torch.no_grad()
def psm_dummy(case: Case) -> Results:
    """DummyPSM."""
    yield "corrs", _psm(case, "DummyPSM")(case.input("corrs"))


def _psm(case: Case, name: str) -> nn.Module:
    node = node_from("MODEL.MASKCLIPPP", {})
    node.PSM = node_from("MODEL.MASKCLIPPP.PSM", case.meta.get("cfg", {}))
    node.PSM.NAME = name
    psm = build_psm(node, case.input("corrs").shape[-1], visual_shapes={})
    case.load_into(psm=psm)
    return psm


@golden_kind("criterion_reweight_ce", tolerance=5e-6)
def reweight_ce(case: Case) -> Results:
    """ReweightCELoss: loss and gradient of every variant."""
    options = {variant["key"]: variant for variant in case.meta.get("variants", [])}
    for name in case.outputs():
        if name.startswith("loss."):
            key = name.removeprefix("loss.")
            yield from _variant(case, key, options.get(key) or _options_from_key(key))


def _options_from_key(key: str) -> dict[str, Any]:
    """Variants that the JSON does not list say by their key what they are, such as ``ignored_bal1``."""

    def number(pattern: str, default: float) -> float:
        found = re.search(pattern, key)
        return float(found[1]) if found else default

    return {
        "BALANCE_CLS": bool(number(r"bal(\d)", 0)),
        "IGNORE_EMPTY": bool(number(r"empty(\d)", key.startswith("all_empty"))),
        "TEMPERATURE": number(r"T(\d+(?:\.\d+)?)", 1.0),
    }


def _variant(case: Case, key: str, options: dict[str, Any]) -> Results:
    criterion = build_criterion(node_from("MODEL.MASKCLIPPP.CRITERION", options))
    logits = case.input("corrs").clone().requires_grad_()
    labels = case.input("labels_with_ignored" if key.startswith("ignored") else "labels")
    areas = torch.cat(case.inputs("areas"))
    if key.startswith("all_empty"):
        areas = torch.zeros_like(areas)
    (loss,) = criterion(logits, labels, case.input("mask2batch"), areas).values()
    loss.backward()
    yield f"loss.{key}", loss
    yield f"grad_corrs.{key}", logits.grad
