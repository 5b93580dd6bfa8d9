"""Masks seen through resizes, crops and paddings that are computed only where someone looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 64
"""Side of the tiles that large views are computed in: small enough that a few hundred of them fit a cache."""

Step = tuple[str, int]
NO_RESIZE = ("crop", "pad", "flip")


@dataclass(frozen=True)
class Axis:
    """One side of a view: a chain of linear steps on a line of ``source`` values.

    Attributes:
        source: length before the first step.
        steps: (what, length after it); what is one of NO_RESIZE or a method of resizing.
    """

    source: int
    steps: tuple[Step, ...] = ()

    @property
    def length(self) -> int:
        """Length after the last step."""
        return self.steps[-1][1] if self.steps else self.source

    def then(self, what: str, length: int) -> Axis:
        """Append a step; one that changes nothing is left out."""
        if length == self.length and what != "flip":
            return self
        return replace(self, steps=(*self.steps, (what, length)))

    def without_resize(self) -> Axis:
        """Leave out the last step if it is a resize."""
        return replace(self, steps=self.steps[:-1]) if self.steps and self.steps[-1][0] not in NO_RESIZE else self

    def resized_by(self, method: str) -> Axis:
        """Do every resize by another method."""
        return replace(self, steps=tuple((what if what in NO_RESIZE else method, to) for what, to in self.steps))


@dataclass(frozen=True)
class MaskTile:
    """A rectangle of a view.

    Attributes:
        rows, columns: where it lies in the view.
        values: (Q, a, b), what it depends on.
        row_weights, column_weights: (height, a) and (width, b); the tile is row_weights @ values @ column_weights^T.
    """

    rows: slice
    columns: slice
    values: Tensor
    row_weights: Tensor
    column_weights: Tensor

    def dense(self, mixing: Tensor | None = None) -> Tensor:
        """Return (Q, height, width), or with ``mixing`` (C, Q) the C sums of weighted masks, (C, height, width)."""
        values = self.values
        with torch.autocast(values.device.type, enabled=False):
            if mixing is not None:
                values = (mixing @ values.flatten(1)).unflatten(1, values.shape[1:])
            return self.row_weights @ values @ self.column_weights.T

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest value that each mask, being nowhere negative, can have in it: (Q,) twice.

        Bilinear weights are not negative and sum to one, or to less in a padding.
        """
        flat = self.values.flatten(1)
        filled = self.row_weights.sum(dim=1).amin() * self.column_weights.sum(dim=1).amin()
        return flat.amin(dim=1) * filled, flat.amax(dim=1)


@dataclass(frozen=True)
class ResampledMasks:
    """Q masks on a grid that they reach through separable linear steps.

    A generator's masks are resized several times on their way to a classifier and to the original picture. Each step
    is a product with one matrix for the rows and one for the columns; only the matrices of the steps are multiplied.

    Attributes:
        values: (Q, h, w), bool or float in [0, 1].
        vertical, horizontal: the chains of steps of the rows and of the columns.
        direct: a resize takes the place of the one before it: masks that were resized for a classifier are resized to
            the original picture as if they had not been.
        logits: (Q, h, w), what the values are the sigmoid of, where a generator's own evaluation looks at them.
    """

    values: Tensor
    vertical: Axis
    horizontal: Axis
    direct: bool = False
    logits: Tensor | None = None

    @classmethod
    def of(cls, masks: Tensor | ResampledMasks) -> ResampledMasks:
        """Wrap (Q, h, w) masks; a view stays as it is.

        Raises:
            ValueError: a tensor of another number of dimensions, or one without pixels.
        """
        if isinstance(masks, ResampledMasks):
            return masks
        if masks.dim() != 3 or 0 in masks.shape[1:]:
            raise ValueError(f"masks have shape {tuple(masks.shape)}, not (Q, H, W)")
        return cls(masks, Axis(masks.shape[-2]), Axis(masks.shape[-1]))

    def __len__(self) -> int:
        """Q."""
        return self.values.shape[0]

    def __getitem__(self, index: Tensor | slice | list[int]) -> ResampledMasks:
        """Choose masks."""
        return replace(self, values=self.values[index], logits=None if self.logits is None else self.logits[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, H, W) of the view."""
        return len(self), self.vertical.length, self.horizontal.length

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the view."""
        return self.shape[1:]

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    @property
    def dtype(self) -> torch.dtype:
        """What the view is computed in: float64 if the values are, else float32, whatever region it is used in."""
        return torch.float64 if self.values.dtype == torch.float64 else torch.float32

    def to(self, device: torch.device) -> ResampledMasks:
        """Move the values."""
        logits = None if self.logits is None else self.logits.to(device)
        return replace(self, values=self.values.to(device), logits=logits)

    def resize(self, size: tuple[int, int], method: str = "bilinear") -> ResampledMasks:
        """Resize, as a rule without antialiasing.

        Args:
            size: (H, W).
            method: "bilinear", "nearest", "bicubic", "bilinear_aligned" with aligned corners, "antialias" for bilinear
                with antialiasing, or "avg" for the mean of all pixels below.
        """
        start = self
        if self.direct:
            axes = self.vertical.without_resize(), self.horizontal.without_resize()
            start = replace(self, vertical=axes[0], horizontal=axes[1])
        return start._then((method, size[0]), (method, size[1]))

    def resized_by(self, method: str) -> ResampledMasks:
        """Return the same view with every resize done by another method, see :meth:`resize`."""
        axes = self.vertical.resized_by(method), self.horizontal.resized_by(method)
        return replace(self, vertical=axes[0], horizontal=axes[1])

    def with_values(self, values: Tensor) -> ResampledMasks:
        """Return other masks, (C, h, w), that are seen in the same way."""
        return replace(self, values=values, logits=None)

    def crop(self, size: tuple[int, int]) -> ResampledMasks:
        """Keep the top left (H, W).

        Raises:
            ValueError: the view is smaller than that.
        """
        if size[0] > self.size[0] or size[1] > self.size[1]:
            raise ValueError(f"a view of {self.size} cannot be cropped to {size}")
        return self._then(("crop", size[0]), ("crop", size[1]))

    def pad(self, size: tuple[int, int]) -> ResampledMasks:
        """Append zeros at the bottom and right, up to (H, W)."""
        return self._then(("pad", size[0]), ("pad", size[1]))

    def hflip(self) -> ResampledMasks:
        """Swap left and right."""
        return replace(self, horizontal=self.horizontal.then("flip", self.horizontal.length))

    def _then(self, row_step: Step, column_step: Step) -> ResampledMasks:
        return replace(self, vertical=self.vertical.then(*row_step), horizontal=self.horizontal.then(*column_step))

    def mix(self, weights: Tensor) -> ResampledMasks:
        """Return the C weighted sums of the masks that (C, Q) weights make."""
        with torch.autocast(self.device.type, enabled=False):
            sums = weights.to(self.dtype) @ self.values.flatten(1).to(self.dtype)
        return self.with_values(sums.unflatten(1, self.values.shape[1:]))

    def union(self) -> ResampledMasks:
        """Return one mask, the greatest of all values before anything is resized; without masks it is zero."""
        if not len(self):
            return self.with_values(self.values.new_zeros((1, *self.values.shape[1:])))
        return self.with_values(self.values.amax(dim=0, keepdim=True))

    def dense(self) -> Tensor:
        """Compute the view: (Q, H, W) of :attr:`dtype`."""
        if not (self.vertical.steps or self.horizontal.steps):
            return self.values.to(self.dtype)
        if not len(self):
            return self.values.new_zeros(self.shape, dtype=self.dtype)
        height, width = self.size
        if height * width <= 4 * TILE * TILE:
            return self._tile(slice(0, height), slice(0, width)).dense()
        result = torch.empty(self.shape, dtype=self.dtype, device=self.device)
        for tile in self.tiles():
            result[:, tile.rows, tile.columns] = tile.dense()
        return result

    def tiles(self, side: int | None = None) -> Iterator[MaskTile]:
        """Cut the view into tiles.

        Args:
            side: of a tile; by default :data:`TILE`, on a GPU four times that, where few large products are faster.
        """
        side = side or (TILE if self.device.type == "cpu" else 4 * TILE)
        height, width = self.size
        for top in range(0, height, side):
            for left in range(0, width, side):
                yield self._tile(slice(top, min(top + side, height)), slice(left, min(left + side, width)))

    def _tile(self, rows: slice, columns: slice) -> MaskTile:
        options = {"device": self.device, "dtype": self.dtype}
        row_index, row_weights = _taps(self.vertical, rows.start, rows.stop, **options)
        column_index, column_weights = _taps(self.horizontal, columns.start, columns.stop, **options)
        values = _select(_select(self.values, 1, row_index), 2, column_index).to(self.dtype)
        return MaskTile(rows, columns, values, row_weights, column_weights)


def _select(values: Tensor, dim: int, index: slice | Tensor) -> Tensor:
    if isinstance(index, slice):
        return values.narrow(dim, index.start, index.stop - index.start)
    return values.index_select(dim, index)


@lru_cache(maxsize=4096)
def _taps(
    axis: Axis, start: int, stop: int, *, device: torch.device, dtype: torch.dtype
) -> tuple[slice | Tensor, Tensor]:
    """Which source values the outputs from start to stop depend on, and with what weights: (outputs, sources)."""
    weights = _matrix(axis)[start:stop]
    used = weights.ne(0).any(dim=0).nonzero().flatten()
    if not len(used):
        return slice(0, 1), weights[:, :1].to(device, dtype)
    first, last = int(used[0]), int(used[-1]) + 1
    if last - first == len(used):
        return slice(first, last), weights[:, first:last].to(device, dtype, copy=True)
    return used.to(device), weights[:, used].to(device, dtype)


@lru_cache(maxsize=8)
def _matrix(axis: Axis) -> Tensor:
    """All steps of an axis as one (length, source) matrix on the CPU."""
    matrix = torch.eye(axis.source, dtype=torch.float64)
    for what, length in axis.steps:
        matrix = _step(matrix, what, length)
    return matrix


def _step(matrix: Tensor, what: str, length: int) -> Tensor:
    if what == "crop":
        return matrix[:length]
    if what == "pad":
        return F.pad(matrix, (0, 0, 0, length - len(matrix)))
    if what == "flip":
        return matrix.flip(0)
    columns = matrix.T[:, None, :, None]  # (source, 1, n, 1): each source is a picture one pixel wide
    if what == "avg":
        return F.adaptive_avg_pool2d(columns, (length, 1))[:, 0, :, 0].T
    if what == "antialias":
        # Along the width: with an output one pixel wide, PyTorch's kernel takes the nearest row.
        rows = columns.transpose(2, 3)
        return F.interpolate(rows, size=(1, length), mode="bilinear", antialias=True)[:, 0, 0].T
    mode, _, aligned = what.partition("_")
    corners = None if mode == "nearest" else bool(aligned)
    return F.interpolate(columns, size=(length, 1), mode=mode, align_corners=corners)[:, 0, :, 0].T
