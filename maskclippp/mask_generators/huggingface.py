"""Universal segmentation models of the package transformers as mask generators."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from safetensors import SafetensorError
from torch import Tensor

from maskclippp.structures import ClosedClasses, MaskRules, MaskSet, ResampledMasks
from maskclippp.utils.errors import UserError
from maskclippp.utils.paths import resolve
from maskclippp.utils.shadowing import hide_data_folder
from maskclippp.utils.weights import weights_are_skipped

from .base import GeneratorInput, MaskGenerator
from .build import MASK_GENERATOR_REGISTRY

KINDS = ("mask2former", "maskformer", "oneformer")
"""Model types, as their configs state them."""
MASK2FORMER_GRID = (384, 384)
"""To this size transformers resizes the mask logits of a Mask2Former, whatever the picture."""
TASK = "the task is panoptic"
"""What a OneFormer is told to do."""
_FILLERS = ("merged", "other", "stuff")


@MASK_GENERATOR_REGISTRY.register()
class HuggingFaceSegmentor(MaskGenerator):
    """Masks, and logits over the labels of the model, by a MaskFormer, Mask2Former or OneFormer.

    Pictures go through one by one, prepared by the model's own image processor (size, mean, deviation). Models are read
    from safetensors only, and code that comes with a model is never run. Results are those of transformers' own
    post-processing; but where a processor pads, the padding is cut off first.

    A model whose name says "instance" finds objects only: where none of its masks reaches a half, there is none.

    Args:
        pretrained: folder of a model, or its name on the Hugging Face hub.

    Raises:
        UserError: transformers is not installed, there is no such model, or it is of another kind.
    """

    @configurable
    def __init__(self, *, pretrained: str) -> None:
        super().__init__()
        if find_spec("transformers") is None:
            raise UserError("HuggingFaceSegmentor needs one more package: pip install -c constraints.txt transformers")
        if not pretrained:
            raise UserError(
                "MODEL.MASKCLIPPP.SEGMENTOR.PRETRAINED is empty; HuggingFaceSegmentor needs the folder of a model, or "
                "its name on the Hugging Face hub (facebook/mask2former-swin-tiny-coco-panoptic, say)"
            )
        self.model, self.processor, task = _load(resolve(pretrained))
        self.register_buffer("task", task, persistent=False)
        self.kind = self.model.config.model_type
        only_objects = "instance" in PurePath(pretrained).name.lower()
        self.rules = MaskRules(
            solid=only_objects,
            uncovered_is_void=only_objects,
            postprocessing="transformers_oneformer" if self.kind == "oneformer" else "transformers",
        )
        labels = self.model.config.id2label
        self.classes = ClosedClasses(len(labels), tuple(names_of(labels[index]) for index in range(len(labels))))
        self.requires_grad_(False).eval()

    @classmethod
    def from_config(cls, cfg) -> dict:
        """Read SEGMENTOR.PRETRAINED."""
        return {"pretrained": cfg.MODEL.MASKCLIPPP.SEGMENTOR.PRETRAINED}

    def train(self, mode: bool = True) -> HuggingFaceSegmentor:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Find the masks of each picture."""
        pairs = zip(inputs.records, inputs.sizes, strict=True)
        found = [self._one(record["image"], size) for record, size in pairs]
        return MaskSet([masks for masks, _ in found], [logits for _, logits in found])

    def _one(self, image: Tensor, size: tuple[int, int]) -> tuple[ResampledMasks, Tensor]:
        """(3, H, W) RGB in 0 ... 255 -> masks on the grid ``size``, logits (Q, K + 1)."""
        inputs = self.processor(images=image, input_data_format="channels_first", return_tensors="pt")
        pixels = inputs["pixel_values"].to(image.device)  # (1, 3, h, w)
        task = {} if self.task is None else {"task_inputs": self.task}
        found = self.model(pixel_values=pixels, **task)
        mask_logits = found.masks_queries_logits[0].float()
        if self.kind == "mask2former":
            mask_logits = F.interpolate(mask_logits[None], MASK2FORMER_GRID, mode="bilinear")[0]
        own = mask_logits if self.kind == "oneformer" else None
        masks = replace(ResampledMasks.of(mask_logits.sigmoid()), direct=True, logits=own)
        padded = tuple(pixels.shape[-2:])
        inside = inputs["pixel_mask"][0].bool() if "pixel_mask" in inputs else torch.ones(padded, dtype=torch.bool)
        unpadded = int(inside.any(1).sum()), int(inside.any(0).sum())
        if unpadded != padded:  # some processors pad to a fixed size, right and below
            masks = masks.resize(padded).crop(unpadded)
        return masks.resize(size), found.class_queries_logits[0].float()


def names_of(label: str) -> tuple[str, ...]:
    """Return what a label may be called in a vocabulary: "floor-wood" is a "wood floor", "sky-other-merged" a "sky"."""
    names = [name.strip() for name in label.split(",")]
    for name in list(names):
        words = name.split("-")
        while len(words) > 1 and words[-1] in _FILLERS:
            words.pop()
        names += [" ".join(words), " ".join(reversed(words))]
    return tuple(dict.fromkeys(name for name in names if name))


def _load(name: str) -> tuple[torch.nn.Module, Any, Tensor | None]:
    """Return model, image processor and, for a OneFormer, the tokens of its task (1, length)."""
    hide_data_folder()
    from transformers import AutoConfig, AutoImageProcessor, AutoModelForUniversalSegmentation, AutoTokenizer

    safe = {"trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(name, **safe)
        if config.model_type not in KINDS:
            raise UserError(f"{name}: a model of type {config.model_type}; masks come from {', '.join(KINDS)}")
        task, options = None, {}
        if config.model_type == "oneformer":
            options["class_info_file"] = None  # class names that only training needs would be downloaded
            tokenizer = AutoTokenizer.from_pretrained(name, **safe)
            tokens = tokenizer(
                TASK, padding="max_length", max_length=config.task_seq_len, truncation=True, return_tensors="pt"
            )
            task = tokens["input_ids"] * tokens["attention_mask"]
        processor = AutoImageProcessor.from_pretrained(name, **options, **safe)
        if weights_are_skipped():
            return AutoModelForUniversalSegmentation.from_config(config, **safe), processor, task
        model, report = AutoModelForUniversalSegmentation.from_pretrained(
            name, config=config, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **safe
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()
        raise UserError(f"{name}: cannot be read as a universal segmentation model: {reason[:300]}") from error
    missing = sorted(name for name, _ in model.named_parameters() if name in report["missing_keys"])
    if missing:
        raise UserError(f"{name}: its weights lack {len(missing)} of the model's, {missing[0]} for one")
    if report["unexpected_keys"]:
        logging.getLogger(__name__).info("%s: %d weights are not needed", name, len(report["unexpected_keys"]))
    return model, processor, task
