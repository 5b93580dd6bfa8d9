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
from maskclippp.inference import TaskInference
from maskclippp.mask_generators import GeneratorInput, MaskGenerator, NoGenerator
from maskclippp.methods import Labeller, MaskCLIPpp, Method
from maskclippp.similarity.psm import LinearPSM
from maskclippp.structures import ImageTransform, MaskSet
from maskclippp.text_encoders.open_clip_text import CLIPTextEncoder
from maskclippp.utils.open_clip_models import create_clip, create_tokenizer
from maskclippp.visual_encoders.mask_policies import MaskPolicy, SoftBias
from maskclippp.visual_encoders.token_encoder import CLIPViT, TokenEncoder
from maskclippp.visual_encoders.towers import BlockTower, CLIPTower

TRAIN_CLASSES = ["sky", "traffic light, stop light", "dog"]
TRAIN_NAMES = (("sky",), ("traffic light", "stop light"), ("dog",))
TEST_CLASSES = ["stop light", "grass, lawn", "sky", "wall-brick"]


def tiny_transform(**options: Any) -> ImageTransform:
    """A transform that only normalises, unless the options say otherwise."""
    return ImageTransform((120.0, 115.0, 105.0), (68.0, 66.0, 70.0), **options)


def soft_bias(tower: BlockTower, mask_prior_beg: int = 3, **options: Any) -> SoftBias:
    """A learnable soft bias for a tower, its scales drawn at random."""
    layers = max(len(tower.blocks) - mask_prior_beg + 1, 0)
    defaults = {"mask_logit_scale": 0.5, "learnable_mask_logit_scale": True}
    policy = SoftBias(num_heads=tower.num_heads, num_layers=layers, first_block=mask_prior_beg, **(defaults | options))
    with torch.no_grad():
        policy.mask_logit_scale += torch.rand_like(policy.mask_logit_scale)
    return policy


POLICY_OPTIONS = (
    "mask_prior_beg", "mask_logit_scale", "learnable_mask_logit_scale", "mask_threshold", "downsample_method"
)  # fmt: skip


def tiny_vit(
    encoder_class: type[TokenEncoder] = CLIPViT, seed: int = 0, policy: MaskPolicy | None = None, **options: Any
) -> TokenEncoder:
    """A four-block ViT with random weights; equal seeds give equal weights whatever the class.

    Options of the soft bias are for the policy, unless one is given; the others for the encoder.
    """
    torch.manual_seed(seed)
    tower = CLIPTower(create_clip(register_model(TINY_CLIP)).visual)
    with torch.no_grad():
        tower.module.proj.normal_(std=0.3)
        tower.module.positional_embedding.normal_(std=0.5)
    of_policy = {name: options.pop(name) for name in POLICY_OPTIONS if name in options}
    defaults: dict[str, Any] = {
        "train_transform": tiny_transform(size_divisibility=16),
        "test_transform": tiny_transform(size_divisibility=16),
    }
    policy = policy or soft_bias(tower, **of_policy)
    return encoder_class(tower=tower, policy=policy, **(defaults | options)).eval()


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

    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Ignore everything."""
        return self.found


class BareMethod(Method):
    """A method that can be saved and loaded, and nothing else."""

    checkpoint_prefixes = ("",)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def losses(self, records, targets, step):
        raise NotImplementedError

    def prepare(self, metadata, *, only_masks=False, spread=False):
        raise NotImplementedError

    def infer(self, records, prepared, *, only_masks=False):
        raise NotImplementedError


def metadata(classes: list[str], **options: Any) -> SimpleNamespace:
    """Metadata of a vocabulary."""
    return SimpleNamespace(stuff_classes=classes, **options)


def tiny_model(
    *,
    generator: nn.Module | None = None,
    visual: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
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
        generator=generator or NoGenerator("the test has none"),
        psm=LinearPSM(num_templates=2, width=8),
        criterion=ReweightCELoss(balance_classes=True, ignore_empty=True),
        use_logit_scale=True,
        templates=["a photo of a {}.", "There is a {} in the scene."],
        text_chunk_size=4,
        train_names=TRAIN_NAMES,
        **options,
    )


def labeller(
    model: Method, tasks: TaskInference | None = None, classes: list[str] = TEST_CLASSES, **more: Any
) -> Labeller:
    """A model in evaluation mode with a vocabulary and tasks, semantic segmentation by default."""
    tasks = tasks or TaskInference()
    prepared = model.eval().prepare(metadata(classes, **more), only_masks=tasks.segmentor_only)
    return Labeller(model, prepared, tasks)


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
