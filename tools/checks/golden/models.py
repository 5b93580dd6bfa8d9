"""Kinds of whole MaskCLIP++ models: a training step, and inference with ground-truth masks."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from PIL import Image
from torch import Tensor

from maskclippp.config import default_config
from maskclippp.criteria import build_criterion
from maskclippp.engine.optimizer import build_gradient_clipper, build_optimizer, checkpoint_names
from maskclippp.inference import TaskInference
from maskclippp.mask_generators.ground_truth import GTSegmentor
from maskclippp.methods import Labeller, MaskCLIPpp
from maskclippp.methods.common import class_names, rules_of_encoders
from maskclippp.methods.maskclippp import MaskCLIPppVocabulary
from maskclippp.similarity import build_psm
from maskclippp.text_encoders import TextEncoder, build_text_encoder
from maskclippp.utils.errors import UserError
from maskclippp.visual_encoders import build_visual_encoder

from ..tiny_clip import register_model
from .batches import cut_to_counts, cut_to_sizes, per_picture, pictures
from .canvas import compare_canvas, read_pictures
from .case import Case, Results, golden_kind
from .nodes import change, node_from
from .text import text_config
from .trunks import with_known_trunk

NORM_TOLERANCE = 1e-4
STEP_OPTIONS = (
    "BASE_LR",
    "WEIGHT_DECAY",
    "WEIGHT_DECAY_NORM",
    "WEIGHT_DECAY_EMBED",
    "WEIGHT_DECAY_BIAS",
    "VISUAL_ENCODER_MULTIPLIER",
    "TEXT_ENCODER_MULTIPLIER",
)


@golden_kind("train_step_")
def train_step(case: Case) -> Results:
    """Loss, gradients and parameters after one optimizer step; gradient norms of all parameters."""
    model = build_model(case).train()
    images, masks, canvas = read_pictures(case, model.visual_encoder.train_transform)
    yield from compare_canvas(case, canvas, images)
    model.visual_encoder.train_transform = canvas
    (loss,) = model(_training_records(case, images, masks or [])).values()
    yield "loss", loss
    loss.backward()
    names = {name: parameter for parameter, name in checkpoint_names(model).items() if parameter.requires_grad}
    yield "json.trainable_parameters", sorted(names, key=case.meta.get("trainable_parameters", []).index)
    _check_norms(names, case.meta.get("gradient_norms", {}))
    for name, parameter in names.items():
        if parameter.grad is not None:
            yield f"grad.{name}", parameter.grad.clone()
    cfg = _solver(case)
    rules = rules_of_encoders(cfg.SOLVER.VISUAL_ENCODER_MULTIPLIER, cfg.SOLVER.TEXT_ENCODER_MULTIPLIER)
    optimizer = build_optimizer(cfg, model, rules)
    build_gradient_clipper(cfg)(names.values())
    optimizer.step()
    for name, parameter in names.items():
        yield f"after_step.{name}", parameter


@golden_kind("infer_gt_masks_")
@torch.no_grad()
def infer_ground_truth_masks(case: Case) -> Results:
    """Semantic map and class of each mask, with masks read from label maps."""
    model = build_model(case)
    labellers = [Labeller(model, prepare(model, case), TaskInference(mask_accuracy=mode)) for mode in (False, True)]
    images = cut_to_sizes(case, pictures(case, "image", 3))
    given = zip(images, pictures(case, "gt_sem_seg", 2), pictures(case, "output_size", 1), strict=True)
    found: dict[str, list[Tensor]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for index, (image, labels, size) in enumerate(given):
            path = Path(folder, f"{index}.png")
            Image.fromarray(labels.numpy().astype(np.uint8)).save(path)
            record = dict(zip(("height", "width"), size.tolist(), strict=True))
            record |= {"image": image, "sem_seg_file_name": str(path)}
            results: dict[str, Tensor] = {}
            for label in labellers:
                results |= label([record])[0]
            yield "category_overlapping_mask", results.pop("category_overlapping_mask")
            for key, value in results.items():
                found[key].append(value)
    for key, values in found.items():
        yield from per_picture(case, key, values)
    yield "test_t_embs", labellers[0].prepared.bank.embeddings


def prepare(model: MaskCLIPpp, case: Case) -> MaskCLIPppVocabulary:
    """Prepare the test classes of a case."""
    return model.prepare(
        SimpleNamespace(
            stuff_classes=case.meta.get("test_classes", case.meta["train_classes"]),
            thing_dataset_id_to_contiguous_id={thing: thing for thing in case.meta.get("thing_ids", [])},
        )
    )


def build_model(case: Case, **parts: Any) -> MaskCLIPpp:
    """Build the model of ``cfg``, ``model_config`` and the class lists, with the case's weights, in evaluation mode.

    Args:
        case: its weights are those of the tuned parts.
        parts: of the model; by default masks come from annotations, and nothing is ensembled.
    """
    node = _node(case)
    visual_encoder = build_visual_encoder(node.VISUAL_ENCODER)
    text_encoder = _text_encoder(case, node)
    templates = case.meta["templates"]
    if not parts:
        parts = {
            "visual_encoder_f": build_visual_encoder(node.VISUAL_ENCODER_F),
            "generator": GTSegmentor(ignore_label=case.meta.get("ignore_label", 255)),
        }
    model = MaskCLIPpp(
        visual_encoder=visual_encoder,
        text_encoder=text_encoder,
        psm=build_psm(node, len(templates), visual_encoder.output_shape()),
        criterion=build_criterion(node.CRITERION),
        use_logit_scale=node.USE_LOGIT_SCALE,
        templates=templates,
        text_chunk_size=node.TEXT_CHUNK_SIZE,
        train_names=class_names(SimpleNamespace(stuff_classes=case.meta["train_classes"])),
        **parts,
    )
    case.load_into(visual_encoder=visual_encoder, text_encoder=text_encoder, psm=model.psm)
    return model.eval()


def _node(case: Case) -> CfgNode:
    node = node_from("MODEL.MASKCLIPPP", {})
    change(node, case.meta["cfg"])
    node.VISUAL_ENCODER.MODEL_NAME = register_model(with_known_trunk(case.meta["model_config"], case.parameters()))
    return node


def _text_encoder(case: Case, node: CfgNode) -> TextEncoder:
    """The text tower that the keys are of: only EVA's lie below ``proxy``."""
    is_eva = any(key.startswith("text_encoder.proxy.") for key in case.parameters())
    node.TEXT_ENCODER.NAME = "EVACLIPTextEncoder" if is_eva else "CLIPTextEncoder"
    node.TEXT_ENCODER.MODEL_NAME = register_model(text_config(case))
    return build_text_encoder(node.TEXT_ENCODER)


def _training_records(case: Case, images: list[Tensor], masks: list[Tensor]) -> list[dict]:
    records = []
    for image, mask, labels in zip(images, masks, cut_to_counts(case, pictures(case, "labels", 1)), strict=True):
        instances = Instances(tuple(image.shape[-2:]), gt_masks=mask, gt_classes=labels)
        records.append({"image": image, "instances": instances})
    return records


def _solver(case: Case) -> CfgNode:
    cfg, options = default_config(), case.meta["optimizer"]
    for key in STEP_OPTIONS:
        cfg.SOLVER[key] = options[key]
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = options["full_model_gradient_clip_norm"]
    return cfg


def _check_norms(parameters: dict[str, Tensor], expected: dict[str, float | None]) -> None:
    for name, norm in expected.items():
        gradient = parameters[name].grad
        ours = None if gradient is None else float(gradient.norm())
        if (ours or 0.0) != (norm or 0.0) and not abs((ours or 0.0) - (norm or 0.0)) <= NORM_TOLERANCE:
            raise UserError(f"gradient norm of {name} is {ours}, expected {norm}")
