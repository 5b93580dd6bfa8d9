"""The size of a picture from the head of its file, without decoding it."""

from __future__ import annotations

from pathlib import Path

from PIL import ExifTags, Image

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import regular_file

from .images import DECODER_ERRORS, decoder_message, open_image

_SIDEWAYS = (5, 6, 7, 8)


def image_size_hw(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of a picture as :func:`maskclippp.data.images.read_image` would return it.

    Raises:
        UserError: file missing or not a picture.
    """
    regular_file(path)
    try:
        with open_image(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            return (image.width, image.height) if turned else (image.height, image.width)
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        found = f"cannot be read as an image: {decoder_message(error)}"
        raise UserError(f"{path}: {found}; make or copy it again") from error
