"""How large a benchmark's job is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from checks.tiny_clip import TINY_CLIP, register_model
from maskclippp.data.vocabularies import load_vocabulary

VARIANTS = ("ours", "naive")
VOCABULARY = "coco_stuff_171"
MODELS = {"tiny": "", "base": "ViT-B-16", "eva-base": "EVA02-B-16", "eva-large": "EVA02-L-14-336"}
Run = Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class Settings:
    """How large the job is.

    Attributes:
        size: a key of ``MODELS``: open_clip architectures with random weights, and "tiny", one for tests.
        image_size: side of the square pictures in pixels.
        batch: pictures.
        masks: per picture.
        classes: how many; where they need names, these are COCO-Stuff's, at most 171.
        templates: sentences per name, "t1" or "t14".
        blocks_with_masks: the last so many blocks have mask tokens; 3 of 12 is MASK_PRIOR_BEG 10.
        text: "tuned" or "frozen" in a training step.
        precision: "float32", or "bfloat16" for autocast.
        output_size: (height, width) of the original picture where a job makes its label map.
        device: of torch.
    """

    size: str = "base"
    image_size: int = 448
    batch: int = 2
    masks: int = 10
    classes: int = 171
    templates: str = "t1"
    blocks_with_masks: int = 3
    text: str = "tuned"
    precision: str = "float32"
    output_size: tuple[int, int] = (512, 683)
    device: str = "cpu"

    @property
    def model_name(self) -> str:
        """Architecture that open_clip knows."""
        return MODELS[self.size] or register_model(TINY_CLIP)

    @property
    def is_eva(self) -> bool:
        """Whether the towers are EVA's."""
        return self.model_name.startswith("EVA")

    def autocast(self) -> torch.autocast:
        """The context of the precision."""
        device = self.device.split(":")[0]
        return torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def class_names(self) -> list[str]:
        """The first name of each class."""
        return [names[0] for names in load_vocabulary(VOCABULARY).names[: self.classes]]
