"""Reading pictures: bounded in size, and with a one-line answer to a missing, damaged or truncated file."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffTags, UnidentifiedImageError

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import regular_file

MAX_PIXELS = 80_000_000
"""Larger pictures are refused before they are decoded."""

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Formats that are tried, whatever a file is called. No others: PostScript, say, would be run by another program."""

DECODER_ERRORS = (OSError, SyntaxError, EOFError, ValueError, MemoryError, struct.error, zlib.error)

_UP_TO_16_BITS = ("PNG", "PPM")
"""Formats whose whole numbers have 16 bits at most, also where Pillow calls them "I"."""


def read_image(path: str | Path, image_format: str = "RGB") -> np.ndarray:
    """Read a picture the way it is meant to be looked at (the camera's EXIF rotation is applied).

    Modes with another meaning are converted: grey is repeated, palettes are looked up, CMYK, YCbCr and LAB become
    RGB, 1 bit becomes 0 or 255. Transparency (LA, PA, RGBA) is dropped: the colour beneath counts, as in published
    training. Grey of 16 bits, or of 10 to 14 in a TIFF, is scaled to 8; other numbers have no known white and are
    refused. Of several frames or pages the first one is read.

    Args:
        path: file in one of ``FORMATS``.
        image_format: channel order, "RGB" or "BGR".

    Returns:
        (H, W, 3) uint8.

    Raises:
        UserError: file missing, not a picture, truncated or too large; grey values that are floating-point, signed or
            of 32 bits; unknown ``image_format``.
    """
    if image_format not in ("RGB", "BGR"):
        raise UserError(f"image format '{image_format}' is not supported; use RGB or BGR (key INPUT.FORMAT)")
    picture = decode(path)
    try:
        image = np.asarray(_eight_bits(ImageOps.exif_transpose(picture), picture, path).convert("RGB"))
    except UserError:
        raise
    except DECODER_ERRORS as error:
        raise UserError(f"{path}: mode {picture.mode} does not become RGB: {error}; save it as RGB") from error
    return image if image_format == "RGB" else image[:, :, ::-1]


def decode(path: str | Path) -> Image.Image:
    """Return the fully decoded Pillow image of ``path`` in its own mode.

    Raises:
        UserError: file missing, not a picture, truncated or larger than ``MAX_PIXELS``.
    """
    regular_file(path)
    try:
        with open_image(path) as image:
            too_large = image.width * image.height > MAX_PIXELS
            if not too_large:
                image.load()
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: {error}; at most {MAX_PIXELS} pixels are read") from error
    except DECODER_ERRORS as error:
        found = f"cannot be read as an image ({_size_of(path)}): {decoder_message(error)}"
        raise UserError(f"{path}: {found}; make or copy it again") from error
    if too_large:
        raise UserError(f"{path}: {image.width}x{image.height} pixels, at most {MAX_PIXELS} are read; make it smaller")
    return image


def open_image(path: str | Path) -> Image.Image:
    """Open a picture in one of ``FORMATS``; its pixels are not decoded yet. The only way to Pillow's decoders.

    Raises:
        DECODER_ERRORS, Image.DecompressionBombError: as Pillow does.
    """
    return Image.open(path, formats=_supported_formats())


def decoder_message(error: Exception) -> str:
    """Say what Pillow found wrong; where it knows nothing of the file, which formats it looked for."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is in none of the formats {', '.join(_supported_formats())}, or of a pixel type that is not read"
    return str(error)


@lru_cache(maxsize=1)
def _supported_formats() -> tuple[str, ...]:
    """``FORMATS`` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _eight_bits(upright: Image.Image, picture: Image.Image, path: str | Path) -> Image.Image:
    """Return a picture whose channels have 8 bits.

    Args:
        upright: the picture, turned.
        picture: as it came out of its file, which tells what its numbers mean.
        path: for messages.
    """
    mode = picture.mode
    if not mode.startswith(("I", "F")):
        return upright
    if mode == "F" or (mode == "I" and picture.format not in _UP_TO_16_BITS):
        kind = "floating-point numbers" if mode == "F" else "signed or 32-bit whole numbers"
        raise UserError(f"{path}: its grey values are {kind}, of unknown white; scale them to 8 or 16 bits")
    bits, inverted = _grey_scale(picture)
    top = (1 << bits) - 1
    values = np.asarray(upright).astype(np.int32).clip(0, top)
    if inverted:
        values = top - values
    return Image.fromarray(((values * 255 + top // 2) // top).astype(np.uint8))


def _grey_scale(picture: Image.Image) -> tuple[int, bool]:
    """Bits of a grey picture of more than 8 bits, and whether 0 is white, which Pillow leaves to us."""
    tags = getattr(picture, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    return (bits if 8 < bits < 16 else 16), tags.get(_PHOTOMETRIC) == 0


_BITS_PER_SAMPLE, _PHOTOMETRIC = (
    next(number for number, tag in TiffTags.TAGS_V2.items() if tag.name == name)
    for name in ("BitsPerSample", "PhotometricInterpretation")
)


def _size_of(path: str | Path) -> str:
    try:
        return f"{Path(path).stat().st_size} bytes"
    except OSError:
        return "size unknown"
