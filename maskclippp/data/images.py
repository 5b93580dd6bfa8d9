"""Reading pictures: bounded in size, and with a one-line answer to a missing, damaged or truncated file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import regular_file

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded."""

DECODER_ERRORS = (OSError, SyntaxError, EOFError, ValueError, MemoryError, struct.error, zlib.error)


def read_image(path: str | Path, image_format: str = "RGB") -> np.ndarray:
    """Read a picture the way it is meant to be looked at (the camera's EXIF rotation is applied).

    Args:
        path: file in any format that Pillow reads.
        image_format: channel order, "RGB" or "BGR".

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: file missing, not a picture, truncated or too large; unknown ``image_format``.
    """
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"image format '{image_format}' is not supported; use RGB or BGR (key INPUT.FORMAT)")
    image = np.asarray(ImageOps.exif_transpose(decode(path)).convert("RGB"))
    return image if image_format == "RGB" else image[:, :, ::-1]


def decode(path: str | Path) -> Image.Image:
    """Return the fully decoded Pillow image of ``path`` in its own mode.

    Raises:
        UserError: file missing, not a picture, truncated or larger than ``MAX_PIXELS``.
    """
    regular_file(path)
    try:
        with Image.open(path) as image:
            too_large = image.width * image.height > MAX_PIXELS
            if not too_large:
                image.load()
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {error}; at most {MAX_PIXELS} pixels are read") from error
    except DECODER_ERRORS as error:
        found = f"cannot be read as an image ({_size_of(path)}): {error}"
        raise UserError(f"{path}: {found}; make or copy it again") from error
    if too_large:
        raise UserError(f"{path}: {image.width}x{image.height} pixels, at most {MAX_PIXELS} are read; make it smaller")
    return image


def _size_of(path: str | Path) -> str:
    try:
        return f"{Path(path).stat().st_size} bytes"
    except OSError:
        return "size unknown"
