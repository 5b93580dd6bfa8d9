"""Small parts that the tests of several rooms need: a tiny CLIP, a tiny model, pictures and masks."""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from detectron2.structures import Instances
from torch import Tensor, nn

from checks.tiny_clip import TINY_CLIP, register_model
from maskclippp.criteria.mask_cross_entropy import ReweightCELoss
from maskclippp.mask_generators import MaskGenerator
from maskclippp.methods import MaskCLIPpp
from maskclippp.methods.tasks import TaskInference
from maskclippp.similarity.psm import LinearPSM
from maskclippp.structures import ImageTransform, MaskSet
from maskclippp.text_encoders.open_clip_text import CLIPTextEncoder
from maskclippp.utils.open_clip_models import create_clip, create_tokenizer
from maskclippp.visual_encoders.vit import CLIPViT

TRAIN_CLASSES = ["sky", "traffic light, stop light", "dog"]
TEST_CLASSES = ["stop light", "grass, lawn", "sky", "wall-brick"]


def tiny_transform(**options: Any) -> ImageTransform:
    """A transform that only normalises, unless the options say otherwise."""
    return ImageTransform((120.0, 115.0, 105.0), (68.0, 66.0, 70.0), **options)


def tiny_vit(encoder_class: type[CLIPViT] = CLIPViT, seed: int = 0, **options: Any) -> CLIPViT:
    """A four-block ViT with random weights; equal seeds give equal weights whatever the class."""
    torch.manual_seed(seed)
    tower = create_clip(register_model(TINY_CLIP)).visual
    with torch.no_grad():
        tower.proj.normal_(std=0.3)
        tower.positional_embedding.normal_(std=0.5)
    defaults: dict[str, Any] = {
        "train_transform": tiny_transform(size_divisibility=16),
        "test_transform": tiny_transform(size_divisibility=16),
        "mask_prior_beg": 3,
        "mask_logit_scale": 0.5,
        "learnable_mask_logit_scale": True,
    }
    encoder = encoder_class(tower=tower, **(defaults | options))
    with torch.no_grad():
        encoder.mask_logit_scale += torch.rand_like(encoder.mask_logit_scale)
    return encoder.eval()


def tiny_text_encoder(encoder_class: type[CLIPTextEncoder] = CLIPTextEncoder, **options: Any) -> CLIPTextEncoder:
    """A two-block text tower with random weights."""
    torch.manual_seed(1)
    name = register_model(TINY_CLIP)
    clip = create_clip(name)
    return encoder_class(
        tower=clip.text, logit_scale=clip.logit_scale, tokenizer=create_tokenizer(name), **options
    ).eval()


class FixedMasks(MaskGenerator):
    """A generator that returns what it was given, image by image."""

    def __init__(self, masks: list[Tensor], logits: list[Tensor] | None = None) -> None:
        super().__init__()
        self.found = MaskSet(masks, logits)

    def forward(self, records, *, sizes, features, text=None) -> MaskSet:
        """Ignore everything."""
        return self.found


def metadata(classes: list[str], **options: Any) -> SimpleNamespace:
    """Metadata of a vocabulary."""
    return SimpleNamespace(stuff_classes=classes, **options)


def tiny_model(
    *,
    generator: nn.Module | None = None,
    visual: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    tasks: TaskInference | None = None,
    **options: Any,
) -> MaskCLIPpp:
    """MaskCLIP++ with a tiny CLIP, attention of the visual tower tuned."""
    visual_encoder = tiny_vit(**{"finetune_type": "attention", **(visual or {})})
    text_encoder = tiny_text_encoder(**(text or {}))
    torch.manual_seed(2)
    return MaskCLIPpp(
        visual_encoder=visual_encoder,
        visual_encoder_f=None,
        text_encoder=text_encoder,
        generator=generator,
        psm=LinearPSM(num_templates=2, width=8),
        criterion=ReweightCELoss(balance_classes=True, ignore_empty=True),
        use_logit_scale=True,
        templates=["a photo of a {}.", "There is a {} in the scene."],
        text_chunk_size=4,
        train_classes=TRAIN_CLASSES,
        tasks=tasks or TaskInference(),
        test_metadata=metadata(TEST_CLASSES),
        **options,
    )


def random_image(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def rectangle_masks(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(count, H, W) float, each a rectangle of at least a third of each side."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, height, width)
    for mask in masks:
        top, left = (torch.rand(2, generator=generator) * torch.tensor([height / 2, width / 2])).long().tolist()
        mask[top : top + height // 3, left : left + width // 3] = 1.0
    return masks


def training_record(height: int, width: int, labels: list[int], seed: int = 0) -> dict[str, Any]:
    """A record as training mappers make it."""
    masks = rectangle_masks(len(labels), height, width, seed).bool()
    instances = Instances((height, width), gt_masks=masks, gt_classes=torch.tensor(labels, dtype=torch.long))
    return {"image": random_image(height, width, seed), "height": height, "width": width, "instances": instances}


def run_door(monkeypatch: pytest.MonkeyPatch, path: Path, *arguments: str) -> int | str | None:
    """Run a script of tools/ in this process; return what it hands to sys.exit (0 when it just ends)."""
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as done:
        return done.code
    finally:
        logging.disable(logging.NOTSET)
    return 0
