"""Pictures made ready for an encoder: normalised, resized, padded with their masks, grouped by size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.utils.errors import UserError
from maskclippp.utils.precision import full_precision

from .resampled_masks import ResampledMasks

RESIZE_TYPES = ("none", "short", "square", "rel")
STEPS = ("normalise", "resize", "pad")


@dataclass(frozen=True)
class ImageBatch:
    """Pictures of one padded size, with their masks.

    Attributes:
        pixels: (B, 3, Hp, Wp) float, normalised.
        masks: B views (Q, H', W') with values in [0, 1], on any grid that covers the padded picture; made from tensors
            as well.
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


@dataclass(frozen=True)
class ImageTransform:
    """How an encoder wants its pictures.

    Attributes:
        pixel_mean, pixel_std: per channel (RGB), in units of 0-255 pixel values.
        resize_type: "none"; "short": the shorter side becomes ``size``, the other is scaled and floored; "square": both
            become ``size``; "rel": both are multiplied by ``scale``.
        size_divisibility: the padded size is a multiple of it; 0 means no padding. Padding is zero, at the right and
            bottom.
        interpolation: "bilinear" or "bicubic", without antialiasing.
        align_corners: of the interpolation.
        order: which step follows which.
        resize_masks: masks are resized with the picture; else they keep their grid, which covers the padded picture.
    """

    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    resize_type: str = "none"
    size: int = 640
    scale: float = 1.0
    size_divisibility: int = 0
    interpolation: str = "bilinear"
    align_corners: bool = False
    order: tuple[str, ...] = STEPS
    resize_masks: bool = True

    def __post_init__(self) -> None:
        if self.resize_type not in RESIZE_TYPES:
            raise ValueError(f"resize type '{self.resize_type}' is none of {', '.join(RESIZE_TYPES)}")
        if sorted(self.order) != sorted(STEPS):
            raise ValueError(f"order {self.order} is no order of {', '.join(STEPS)}")

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
            images: B tensors (3, H, W), RGB, 0-255, any dtype, on one device; (0, H, W) where only masks are wanted.
            masks: B tensors (Q, H', W') in [0, 1] (float or bool), or views of such, on any grid that covers the same
                picture. None: no masks.

        Raises:
            UserError: another number of mask tensors than of images, or shapes other than (3, H, W) and (Q, H, W).
        """
        if masks is not None and len(masks) != len(images):
            raise UserError(
                f"{len(images)} images but {len(masks)} tensors of masks; give one (Q, H, W) for each image"
            )
        groups: dict[tuple[int, int], list[tuple[int, _Prepared]]] = defaultdict(list)
        for index, image in enumerate(images):
            picture_masks = image.new_zeros((0, *image.shape[-2:])) if masks is None else masks[index]
            if image.dim() != 3 or len(picture_masks.shape) != 3 or 0 in picture_masks.shape[1:]:
                raise UserError(
                    f"image {index} has shape {tuple(image.shape)} and masks {tuple(picture_masks.shape)}; "
                    "expected (3, H, W) and (Q, H, W)"
                )
            prepared = self._prepare(image, ResampledMasks.of(picture_masks).to(image.device))
            groups[prepared.pixels.shape[-2], prepared.pixels.shape[-1]].append((index, prepared))
        return [
            ImageBatch(
                pixels=torch.stack([each.pixels for _, each in members]),
                masks=[each.masks for _, each in members],
                sizes=[each.size for _, each in members],
                index=[index for index, _ in members],
            )
            for members in groups.values()
        ]

    def _prepare(self, image: Tensor, masks: ResampledMasks) -> _Prepared:
        state = _Prepared(full_precision(image), masks, (image.shape[-2], image.shape[-1]))
        steps = {"normalise": self._normalise, "resize": self._resize, "pad": self._pad}
        for name in self.order:
            state = steps[name](state)
        return state

    def _normalise(self, state: _Prepared) -> _Prepared:
        channels = len(state.pixels)  # 0 where only the masks are wanted
        mean, std = (
            state.pixels.new_tensor(each[:channels]).view(-1, 1, 1) for each in (self.pixel_mean, self.pixel_std)
        )
        return replace(state, pixels=(state.pixels - mean) / std)

    def _resize(self, state: _Prepared) -> _Prepared:
        canvas = (state.pixels.shape[-2], state.pixels.shape[-1])
        target = self.target_size(*canvas)
        return _Prepared(
            pixels=resize_maps(state.pixels, target, self.interpolation, self.align_corners),
            masks=state.masks.resize(target) if self.resize_masks else state.masks,
            size=(max(state.size[0] * target[0] // canvas[0], 1), max(state.size[1] * target[1] // canvas[1], 1)),
        )

    def _pad(self, state: _Prepared) -> _Prepared:
        canvas = (state.pixels.shape[-2], state.pixels.shape[-1])
        target = self.padded_size(*canvas)
        right, bottom = target[1] - canvas[1], target[0] - canvas[0]
        pixels = F.pad(state.pixels, (0, right, 0, bottom)) if right or bottom else state.pixels
        return _Prepared(pixels, state.masks.resize(canvas).pad(target), state.size)


@dataclass(frozen=True)
class _Prepared:
    """One picture on its way: pixels (3, H, W), masks, and how much of it is no padding."""

    pixels: Tensor
    masks: ResampledMasks
    size: tuple[int, int]


def resize_maps(
    maps: Tensor, size: tuple[int, int], interpolation: str = "bilinear", align_corners: bool = False
) -> Tensor:
    """Resize (C, H, W) maps without antialiasing to (C, *size); C may be 0."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.shape[0] == 0:
        return maps.new_zeros((0, *size))
    # As (C, 1, H, W): as channels of one map, many masks are copied to another memory layout first.
    return F.interpolate(maps[:, None], size=size, mode=interpolation, align_corners=align_corners)[:, 0]
