"""Pictures on the canvas that a case was made with."""

from __future__ import annotations

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import Tensor

from maskclippp.structures import ImageBatch, ImageTransform
from maskclippp.utils.errors import UserError

from .batches import cut_to_counts, cut_to_sizes, per_picture, pictures
from .case import Case, Results

Size = tuple[int, int]
AS_THEY_ARE = ImageTransform((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
# Of a canvas that is stored as an input and made anew from the pictures.
CANVAS_TOLERANCE = 1e-4


class CommonCanvas:
    """A transform that pads the pictures as those of a stored result were padded.

    Ours gives every picture the padding it needs by itself, so that a result does not depend on the batch.

    Args:
        transform: the encoder's.
        sizes: (height, width) of each picture's canvas; None: one that has room for all.
    """

    def __init__(self, transform: ImageTransform, sizes: list[Size] | None = None) -> None:
        self.transform = transform
        self.sizes = sizes

    def __call__(self, images: list[Tensor], masks: list[Tensor] | None = None) -> list[ImageBatch]:
        """Return one batch for each size of canvas."""
        batches = self.transform(images, masks)
        common = [max(batch.pixels.shape[side] for batch in batches) for side in (-2, -1)]
        sizes = self.sizes or [(common[0], common[1])] * len(images)
        groups: dict[Size, list[tuple[int, ImageBatch, int]]] = defaultdict(list)
        for batch in batches:
            for row, index in enumerate(batch.index):
                groups[sizes[index]].append((index, batch, row))
        return [_batch(size, sorted(members, key=lambda member: member[0])) for size, members in groups.items()]


def _batch(size: Size, members: list[tuple[int, ImageBatch, int]]) -> ImageBatch:
    pixels, masks = [], []
    for index, batch, row in members:
        height, width = batch.sizes[row]
        if height > size[0] or width > size[1]:
            raise UserError(
                f"picture {index} is {height}x{width}, larger than the stored canvas of {size[0]}x{size[1]}"
            )
        picture = batch.pixels[row, :, :height, :width]
        pixels.append(F.pad(picture, (0, size[1] - width, 0, size[0] - height)))
        masks.append(batch.masks[row].crop((height, width)).pad(size))
    return ImageBatch(
        pixels=torch.stack(pixels),
        masks=masks,
        sizes=[batch.sizes[row] for _, batch, row in members],
        index=[index for index, _, _ in members],
    )


def _fill(maps: Tensor, size: Size) -> Tensor:
    return F.pad(maps, (0, size[1] - maps.shape[-1], 0, size[0] - maps.shape[-2]))


def read_pictures(case: Case, transform: ImageTransform) -> tuple[list[Tensor], list[Tensor] | None, CommonCanvas]:
    """Return pictures, their masks, and the transform that puts them on the stored canvas.

    A case without pictures begins with the canvas: normalised, padded pixels, ``in.canvas`` or else ``out.canvas``.

    Raises:
        UserError: neither pictures nor a canvas, or two that do not belong together.
    """
    stored = pictures(case, "canvas", 3) or _outputs(case)
    images = cut_to_sizes(case, pictures(case, "image", 3))
    masks = cut_to_sizes(case, cut_to_counts(case, pictures(case, "masks", 3)))
    if not images:
        images, transform = stored, AS_THEY_ARE
        masks = [_fill(mask, tuple(canvas.shape[-2:])) for mask, canvas in zip(masks, stored, strict=bool(masks))]
    if not images:
        raise UserError("the case has no pictures: neither in.image.0 nor in.canvas")
    if stored and len(stored) != len(images):
        raise UserError(f"{len(images)} pictures, but {len(stored)} on the stored canvas")
    return images, masks or None, CommonCanvas(transform, [tuple(canvas.shape[-2:]) for canvas in stored] or None)


def compare_canvas(case: Case, canvas: CommonCanvas, images: list[Tensor]) -> Results:
    """Yield the canvas of each picture.

    Raises:
        UserError: the case has it as an input, and it is not what the pictures become.
    """
    found = {index: pixels for batch in canvas(images) for index, pixels in zip(batch.index, batch.pixels, strict=True)}
    ours = [found[index] for index in range(len(images))]
    for index, given in enumerate(pictures(case, "canvas", 3)):
        off = float((ours[index] - given).abs().max())
        if not off <= CANVAS_TOLERANCE:
            raise UserError(f"in.canvas: picture {index} is off by {off:.3g} from what the transform makes of it")
    yield from per_picture(case, "canvas", ours)


def _outputs(case: Case) -> list[Tensor]:
    """The pictures of ``out.canvas``, or ``out.canvas.0`` and so on."""
    as_inputs = {f"in.{name}": value for name, value in case.outputs().items() if name.split(".")[0] == "canvas"}
    return pictures(Case(case.name, case.meta, as_inputs), "canvas", 3)
