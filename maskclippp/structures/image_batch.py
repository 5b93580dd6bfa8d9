"""Pictures made ready for an encoder: normalised, resized with their masks, padded, grouped by size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..utils.errors import UserError
from .resampled_masks import ResampledMasks

RESIZE_TYPES = ("none", "short", "square", "rel")


@dataclass(frozen=True)
class ImageBatch:
    """Pictures of one padded size, with their masks on the same padded grid.

    Attributes:
        pixels: (B, 3, Hp, Wp) float, normalised; zero in the padding at the right and bottom.
        masks: B views (Q, Hp, Wp) with values in [0, 1], zero in the padding; made from tensors as well.
        sizes: B pairs (height, width) without padding.
        index: positions of the pictures in the list that the batch was made from.
    """

    pixels: Tensor
    masks: Sequence[ResampledMasks | Tensor]
    sizes: list[tuple[int, int]]
    index: list[int]

    def __post_init__(self) -> None:
        count = self.pixels.shape[0]
        if not len(self.masks) == len(self.sizes) == len(self.index) == count:
            raise ValueError(
                f"{count} pictures with {len(self.masks)} mask tensors, {len(self.sizes)} sizes, "
                f"{len(self.index)} positions"
            )
        object.__setattr__(self, "masks", [ResampledMasks.of(masks) for masks in self.masks])
        canvas = tuple(self.pixels.shape[-2:])
        for position, masks in enumerate(self.masks):
            if masks.size != canvas:
                raise ValueError(f"masks of picture {position}: {masks.shape}, not (Q, *{canvas})")


@dataclass(frozen=True)
class ImageTransform:
    """How an encoder wants its pictures.

    Attributes:
        pixel_mean, pixel_std: per channel (RGB), in units of 0-255 pixel values.
        resize_type: "none"; "short": the shorter side becomes ``size``, the other is scaled and floored; "square": both
            become ``size``; "rel": both are multiplied by ``scale``.
        size_divisibility: the padded size is a multiple of it; 0 means no padding.
    """

    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    resize_type: str = "none"
    size: int = 640
    scale: float = 1.0
    size_divisibility: int = 0

    def __post_init__(self) -> None:
        if self.resize_type not in RESIZE_TYPES:
            raise ValueError(f"resize type '{self.resize_type}' is none of {', '.join(RESIZE_TYPES)}")

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that a picture of this size is resized to."""
        if self.resize_type == "square":
            return self.size, self.size
        if self.resize_type == "rel":
            return max(int(height * self.scale), 1), max(int(width * self.scale), 1)
        if self.resize_type == "short":
            if height < width:
                return self.size, max(self.size * width // height, 1)
            return max(self.size * height // width, 1), self.size
        return height, width

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) rounded up to the divisibility."""
        step = max(self.size_divisibility, 1)
        return math.ceil(height / step) * step, math.ceil(width / step) * step

    def __call__(
        self, images: list[Tensor], masks: Sequence[Tensor | ResampledMasks] | None = None
    ) -> list[ImageBatch]:
        """Make batches of equal padded size, so that no picture sees padding that only its batch mates need.

        Args:
            images: B tensors (3, H, W), RGB, 0-255, any dtype, on one device.
            masks: B tensors (Q, H', W') in [0, 1] (float or bool), or views of such, on any grid that covers the same
                picture; resized bilinearly with it. None: no masks.

        Raises:
            UserError: another number of mask tensors than of images, or shapes other than (3, H, W) and (Q, H, W).
        """
        if masks is not None and len(masks) != len(images):
            raise UserError(
                f"{len(images)} images but {len(masks)} tensors of masks; give one (Q, H, W) for each image"
            )
        groups: dict[tuple[int, int], list[tuple[int, Tensor, ResampledMasks]]] = defaultdict(list)
        for index, image in enumerate(images):
            picture_masks = image.new_zeros((0, *image.shape[-2:])) if masks is None else masks[index]
            if image.dim() != 3 or len(picture_masks.shape) != 3 or 0 in picture_masks.shape[1:]:
                raise UserError(
                    f"image {index} has shape {tuple(image.shape)} and masks {tuple(picture_masks.shape)}; "
                    "expected (3, H, W) and (Q, H, W)"
                )
            picture = self._prepare(image)
            resized = ResampledMasks.of(picture_masks).to(picture.device).resize(tuple(picture.shape[-2:]))
            groups[self.padded_size(*picture.shape[-2:])].append((index, picture, resized))
        return [_collate(members, size) for size, members in groups.items()]

    def _prepare(self, image: Tensor) -> Tensor:
        mean = torch.tensor(self.pixel_mean, device=image.device).view(-1, 1, 1)
        std = torch.tensor(self.pixel_std, device=image.device).view(-1, 1, 1)
        picture = (image.float() - mean) / std
        return resize_maps(picture, self.target_size(*picture.shape[-2:]))


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (C, H, W) maps bilinearly (no aligned corners, no antialiasing) to (C, *size); C may be 0."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.shape[0] == 0:
        return maps.new_zeros((0, *size))
    # As (C, 1, H, W): as channels of one map, many masks are copied to another memory layout first.
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _collate(members: list[tuple[int, Tensor, ResampledMasks]], size: tuple[int, int]) -> ImageBatch:
    def pad(picture: Tensor) -> Tensor:
        right, bottom = size[1] - picture.shape[-1], size[0] - picture.shape[-2]
        return F.pad(picture, (0, right, 0, bottom)) if right or bottom else picture

    return ImageBatch(
        pixels=torch.stack([pad(picture) for _, picture, _ in members]),
        masks=[masks.pad(size) for _, _, masks in members],
        sizes=[tuple(picture.shape[-2:]) for _, picture, _ in members],
        index=[index for index, _, _ in members],
    )
