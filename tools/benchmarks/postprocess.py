"""A generator's masks on their way to the classifier and to label maps: folded against step by step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.inference import class_probabilities, semantic_labels
from maskclippp.structures import ResampledMasks
from maskclippp.structures.image_batch import resize_maps

from .settings import Run, Settings

STRIDE = 4
LOGIT_SPREAD = 3.0
"""Standard deviation of the class logits, about that of CLIP's with its logit scale of 100."""


def postprocess(variant: str, settings: Settings) -> Run:
    """From a generator's masks at stride 4 and class logits to the label map of the original picture.

    The masks are soft blobs on a canvas padded to a multiple of 32; ``classes`` may be any number.
    """
    height, width = settings.output_size
    canvas = tuple(-(-side // 32) * 32 for side in (height, width))
    masks, logits = _inputs(settings, canvas)

    def ours() -> dict[str, Tensor]:
        view = ResampledMasks.of(masks).resize(canvas).crop((height, width)).resize((height, width))
        return {"labels": semantic_labels([(class_probabilities(logits, settings.classes), view)])}

    def naive() -> dict[str, Tensor]:
        large = F.interpolate(masks[None], size=canvas, mode="bilinear", align_corners=False)[0, :, :height, :width]
        probs = logits.softmax(dim=-1)[:, :-1]
        return {"labels": torch.einsum("qk,qhw->khw", probs, large).argmax(dim=0)}

    return {"ours": ours, "naive": naive}[variant]


PATCH = 14


def mask_chain(variant: str, settings: Settings) -> Run:
    """From a generator's masks at stride 4 to the patch grid of the classifier, by way of two canvases.

    The generator sees the picture at ``output_size``, padded to a multiple of 32; the classifier with a shorter side of
    ``image_size``, padded to a multiple of its patches.
    """
    size = settings.output_size
    canvas = tuple(-(-side // 32) * 32 for side in size)
    masks, _ = _inputs(settings, canvas)
    seen = tuple(settings.image_size * side // min(size) for side in size)
    grid = tuple(-(-side // PATCH) for side in seen)
    padded = tuple(side * PATCH for side in grid)

    def ours() -> dict[str, Tensor]:
        view = ResampledMasks.of(masks).resize(canvas).crop(size).resize(seen).pad(padded)
        return {"masks": view.resize(grid).dense()}

    def naive() -> dict[str, Tensor]:
        cropped = resize_maps(masks, canvas)[:, : size[0], : size[1]]
        small = resize_maps(cropped, seen)
        small = F.pad(small, (0, padded[1] - seen[1], 0, padded[0] - seen[0]))
        return {"masks": resize_maps(small, grid)}

    return {"ours": ours, "naive": naive}[variant]


def _inputs(settings: Settings, canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(settings.masks, 8, 12, generator=generator) * 4 - 3
    grid = tuple(side // STRIDE for side in canvas)
    masks = ResampledMasks.of(coarse).resize(grid, "bicubic").dense().sigmoid()
    logits = torch.randn(settings.masks, settings.classes + 1, generator=generator) * LOGIT_SPREAD
    return masks.to(settings.device), logits.to(settings.device)
