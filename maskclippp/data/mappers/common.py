"""What the mappers share: reading the picture, padding, the vocabulary of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from maskclippp.utils.errors import UserError

from ..images import read_image

IMAGE_PADDING = 128


def read_record_image(record: dict[str, Any], image_format: str) -> np.ndarray:
    """Read the picture of a record and set the record's ``height`` and ``width``, or compare them if they are there.

    Returns:
        (H0, W0, 3) uint8.

    Raises:
        UserError: unreadable picture, or of another size than the record says.
    """
    image = read_image(record["file_name"], image_format)
    height, width = image.shape[:2]
    expected = (record.setdefault("height", height), record.setdefault("width", width))
    if expected != (height, width):
        reason = "one of the two files is of another picture"
        if expected == (width, height):
            reason = "perhaps it was annotated without the rotation in its EXIF data, which is applied here"
        raise UserError(
            f"{record['file_name']}: {height}x{width} (height x width), but its annotation says "
            f"{expected[0]}x{expected[1]}; {reason}"
        )
    return image


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """Return (H, W, C) as a tensor (C, H, W) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def pad_to(tensor: torch.Tensor, size: int, value: int) -> torch.Tensor:
    """Pad (..., h, w) at the right and bottom to exactly (..., size, size); what sticks out is cut off.

    A ``size`` of zero or less leaves the tensor as it is.
    """
    if size <= 0:
        return tensor
    height, width = tensor.shape[-2:]
    return F.pad(tensor, (0, size - width, 0, size - height), value=value)
