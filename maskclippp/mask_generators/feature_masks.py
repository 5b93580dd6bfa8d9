"""What generators with a Mask2Former-type head share: they read the features of the frozen encoder."""

from __future__ import annotations

import logging
from collections import defaultdict

import torch
from torch import Tensor

from maskclippp.structures import MaskSet, ResampledMasks, TextBank
from maskclippp.utils.weights import weights_are_skipped

from .base import GeneratorInput, MaskGenerator
from .head import MaskHead
from .published import load_generator

logger = logging.getLogger(__name__)


class FeatureMaskGenerator(MaskGenerator):
    """A frozen head that runs without gradient on the features of each picture.

    A subclass calls :meth:`freeze` when it has all its parts.

    Args:
        head: its parameters have the published names.
        stride: of the finest features, in pixels of the padded picture.
    """

    needs_features = True

    def __init__(self, head: MaskHead, stride: int) -> None:
        super().__init__()
        self.sem_seg_head = head
        self.stride = stride

    def freeze(self, pretrained: str) -> None:
        """Load weights, if ``pretrained`` names a checkpoint, and never change them again.

        Raises:
            UserError: the checkpoint is missing, or is of another model.
        """
        if pretrained:
            load_generator(self, pretrained)
        elif not weights_are_skipped():
            logger.warning("%s has random weights: SEGMENTOR.PRETRAINED names no checkpoint", type(self).__name__)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FeatureMaskGenerator:
        """Stay in evaluation mode."""
        return super().train(False)

    def class_texts(self, text: TextBank | None) -> TextBank | None:
        """Return what the head's classifier needs of the test vocabulary; here nothing."""
        return None

    @torch.no_grad()
    def forward(self, inputs: GeneratorInput) -> MaskSet:
        """Find masks; pictures whose features have the same size go through the head together.

        So no picture sees more padding than its own features bring along.
        """
        names, sizes, features = self.sem_seg_head.in_features, inputs.sizes, inputs.features
        groups: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
        for index in range(len(sizes)):
            groups[tuple(features[name][index].shape for name in names)].append(index)
        texts = self.class_texts(inputs.text)
        masks: list[ResampledMasks | None] = [None] * len(sizes)
        logits: list[Tensor | None] = [None] * len(sizes)
        for members in groups.values():
            maps = [torch.stack([features[name][index] for index in members]) for name in names]
            (found,) = self.sem_seg_head(maps, texts)
            soft = found.mask_logits.float().sigmoid()  # before all resizing, as published results have it
            height, width = soft.shape[-2:]
            for index, values, classes in zip(members, soft, found.class_logits.float(), strict=True):
                # Without padding (SIZE_DIVISIBILITY 0) the strides of the features need not divide the picture's sides.
                covered = (max(height * self.stride, sizes[index][0]), max(width * self.stride, sizes[index][1]))
                masks[index] = ResampledMasks.of(values).resize(covered).crop(sizes[index])
                logits[index] = classes
        return MaskSet(masks, logits)
