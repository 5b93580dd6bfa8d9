"""How cases hold several pictures: numbered tensors or one stacked tensor, for inputs and results alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskclippp.utils.errors import UserError

from .case import Case, Results


def pictures(case: Case, name: str, dims: int) -> list[Tensor]:
    """Return the tensors of the pictures, from ``in.NAME.0``, ``in.NAME.1``, ... or from ``in.NAME``.

    Args:
        case: the case.
        name: of the input.
        dims: dimensions of one picture's tensor; one more is a batch.

    Returns:
        One tensor of each picture; empty: the case has no such input.

    Raises:
        UserError: a tensor has another number of dimensions.
    """
    found = case.inputs(name) or ([case.input(name)] if case.has(name) else [])
    parts: list[Tensor] = []
    for tensor in found:
        if tensor.dim() not in (dims, dims + 1):
            raise UserError(f"in.{name} has shape {tuple(tensor.shape)}, expected {dims} dimensions for each picture")
        parts += [tensor] if tensor.dim() == dims else list(tensor)
    return parts


def cut_to_sizes(case: Case, maps: Sequence[Tensor]) -> list[Tensor]:
    """Return the pictures' (..., H, W) maps without what the JSON's ``image_sizes`` says is padding."""
    sizes = case.meta.get("image_sizes", [])
    if len(sizes) != len(maps):
        return list(maps)
    return [each[..., :height, :width] for each, (height, width) in zip(maps, sizes, strict=True)]


def cut_to_counts(case: Case, values: Sequence[Tensor]) -> list[Tensor]:
    """Return the pictures' (Q, ...) values without the masks that the JSON's ``num_masks`` says are padding."""
    counts = case.meta.get("num_masks", [])
    if len(counts) != len(values):
        return list(values)
    return [each[:count] for each, count in zip(values, counts, strict=True)]


def rows_of_pictures(case: Case, parts: Sequence[Tensor], least: int = 1) -> list[Tensor]:
    """Return for each picture which rows of the concatenated ``parts`` are its masks, (N,) bool.

    Args:
        case: ``in.mask2batch``, if it is there, says it.
        parts: (Q, ...) tensors; without ``in.mask2batch`` each is a picture's.
        least: so many pictures there are at least, as the last ones may have no masks.
    """
    if case.has("mask2batch"):
        index = case.input("mask2batch")
    else:
        index = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))
    count = max(least, int(index.max()) + 1 if len(index) else 0)
    return [index == picture for picture in range(count)]


def per_picture(case: Case, name: str, values: Sequence[Tensor]) -> Results:
    """Yield the results of the pictures in every form in which the case stores them.

    ``out.NAME.0``, ``out.NAME.1``, ... are one picture's each. ``out.NAME`` has them stacked or, with as many
    dimensions as one picture's tensor, one after the other. Where the pictures' masks are filled up to a common number,
    the JSON's ``num_masks`` must be that of ``values``; what was filled in is not compared.
    """
    stored = case.outputs()
    for index, value in enumerate(values):
        expected = stored.get(f"{name}.{index}")
        batched = expected is not None and tuple(expected.shape) == (1, *value.shape)
        yield f"{name}.{index}", value[None] if batched else value
    expected = stored.get(name)
    if expected is None or not values:
        return
    if expected.dim() == values[0].dim():
        yield name, torch.cat(list(values))
    elif len({value.shape for value in values}) == 1:
        yield name, torch.stack(list(values))
    elif case.meta.get("num_masks") == [len(value) for value in values] and len(expected) == len(values):
        yield name, torch.stack([_filled(*pair) for pair in zip(values, expected, strict=True)])
    else:
        shapes = ", ".join(str(tuple(value.shape)) for value in values)
        raise UserError(f"out.{name} has shape {tuple(expected.shape)}, but the pictures' results are {shapes}")


def stored_result(case: Case, name: str, index: int, ours: Tensor) -> Tensor:
    """Return the stored result of a picture, numbered or stacked; ``ours`` where there is none of its shape."""
    stored = case.outputs()
    expected = stored.get(f"{name}.{index}")
    if expected is None and name in stored:
        whole = stored[name]
        expected = whole[index] if whole.dim() > ours.dim() and index < len(whole) else whole
    return ours if expected is None or expected.shape != ours.shape else expected


def _filled(value: Tensor, expected: Tensor) -> Tensor:
    return torch.cat([value, expected[len(value) :].to(value.dtype)])
