"""Kinds of the similarity and criteria rooms."""

from __future__ import annotations

import re
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from maskclippp.criteria import build_criterion
from maskclippp.similarity import SimilarityContext, build_psm

from .batches import cut_to_counts, per_picture, pictures, rows_of_pictures
from .case import Case, Results, golden_kind
from .nodes import node_from


@golden_kind("psm_linear", tolerance=5e-6)
@torch.no_grad()
def psm_linear(case: Case) -> Results:
    """LinearPSM."""
    parts = pictures(case, "corrs", 3)
    yield from _corrs(case, parts, _unfolded(_psm(case, "LinearPSM"), torch.cat(parts)))


@golden_kind("psm_dummy", tolerance=5e-6)
@torch.no_grad()
def psm_dummy(case: Case) -> Results:
    """DummyPSM."""
    parts = pictures(case, "corrs", 3)
    yield from _corrs(case, parts, _psm(case, "DummyPSM")(torch.cat(parts)))


@golden_kind("psm_pseudo_text", tolerance=5e-6)
@torch.no_grad()
def psm_pseudo_text(case: Case) -> Results:
    """PseudoTextPSM, with the rows of each image together."""
    dense, text = pictures(case, "p_embs", 3), case.input("t_embs")
    shapes = {"p_embs": ShapeSpec(channels=len(dense[0])), "emb": ShapeSpec(channels=text.shape[-1])}
    embeddings = cut_to_counts(case, pictures(case, "m_embs", 2))
    rows = rows_of_pictures(case, embeddings, len(dense))
    context = SimilarityContext(
        mask_embeddings=torch.cat(embeddings),
        text_embeddings=text,
        image_index=torch.stack(rows).int().argmax(dim=0),
        features={"p_embs": dense},
    )
    parts = cut_to_counts(case, pictures(case, "corrs", 3))
    if len(parts) == 1:  # all rows in one tensor
        parts = [parts[0][row] for row in rows]
    psm = _psm(case, "PseudoTextPSM", shapes)
    yield from _corrs(case, parts, _unfolded(psm, torch.cat(parts), context))


def _corrs(case: Case, parts: list[Tensor], result: Tensor) -> Results:
    yield from per_picture(case, "corrs", result.split([len(part) for part in parts]))


def _unfolded(psm: nn.Module, *inputs: Any) -> Tensor:
    """Return the result of two maps one after the other, as the stored one was made; folding them may only round it."""
    folded, unfolded = psm.eval()(*inputs), psm.train()(*inputs)
    torch.testing.assert_close(folded, unfolded, rtol=1e-5, atol=1e-6 * float(unfolded.abs().max()))
    return unfolded


def _psm(case: Case, name: str, visual_shapes: dict[str, ShapeSpec] | None = None) -> nn.Module:
    numbers = {key: value for key, value in case.meta.get("cfg", {}).items() if "DROPOUT" not in key}  # they are off
    node = node_from("MODEL.MASKCLIPPP", {})
    node.PSM = node_from("MODEL.MASKCLIPPP.PSM", numbers)
    node.PSM.NAME = name
    psm = build_psm(node, pictures(case, "corrs", 3)[0].shape[-1], visual_shapes or {})
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
    areas = torch.cat(cut_to_counts(case, pictures(case, "areas", 1)))
    if key.startswith("all_empty"):
        areas = torch.zeros_like(areas)
    (loss,) = criterion(logits, labels, case.input("mask2batch"), areas).values()
    loss.backward()
    yield f"loss.{key}", loss
    yield f"grad_corrs.{key}", logits.grad
