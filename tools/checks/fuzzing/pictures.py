"""Pictures, label maps and panoptic PNGs."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from maskclippp.data.annotations import read_label_map, read_panoptic_ids
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.images import read_image
from maskclippp.utils.errors import UserError

from .case import Case, Surroundings
from .mutations import damage_bytes

_KINDS = (
    ("PNG", ("RGB", "L", "P", "I;16", "RGBA", "LA", "1", "I")),
    ("JPEG", ("RGB", "L", "CMYK")),
    ("TIFF", ("RGB", "L", "I;16", "F", "I", "CMYK", "1", "LAB")),
    ("WEBP", ("RGB", "RGBA")),
    ("BMP", ("RGB", "L", "P")),
    ("GIF", ("P", "L")),
    ("PPM", ("RGB", "L")),
    ("JPEG2000", ("RGB", "L")),
    ("EPS", ("RGB", "L")),
    ("PCX", ("RGB", "L")),
)
_HEADER = struct.Struct(">IIBBBBB")


def picture_case(around: Surroundings) -> Case:
    """A damaged picture, read in every way that pictures are."""
    rng = around.rng
    path = around.folder / f"p.{rng.choice(('png', 'jpg', 'tif', 'bmp', 'webp'))}"
    path.write_bytes(_content(rng))
    return Case(lambda: _read_all(path), (path.name,))


def good_picture(rng: random.Random, size_hw: tuple[int, int] = (16, 16), values: int = 256) -> np.ndarray:
    """Return random pixels (H, W, 3) uint8."""
    return np.random.default_rng(rng.randrange(2**32)).integers(0, values, (*size_hw, 3), dtype=np.uint8)


def _read_all(path: Path) -> None:
    """Each reader is asked, also after another has refused."""
    refused = None
    for reader in (read_image, image_size_hw, read_label_map, read_panoptic_ids):
        try:
            reader(path)
        except UserError as error:
            refused = error
    if refused is not None:
        raise refused


def _content(rng: random.Random) -> bytes:
    name, modes = rng.choice(_KINDS)
    pixels = good_picture(rng, (rng.choice((1, 16, 40)), rng.choice((1, 16, 60))))
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    options = {"exif": _exif(rng)} if name in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.4 else {}
    try:
        image.convert("L").convert(rng.choice(modes)).save(buffer, name, **options)
    # Not every mode goes into every format, in every release of Pillow.
    except Exception:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    content = buffer.getvalue()
    if content.startswith(b"\x89PNG") and rng.random() < 0.5:
        return _damage_png(rng, content)
    return damage_bytes(rng, content)


def _exif(rng: random.Random) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = rng.choice((1, 3, 6, 8, 9, 0, 65535, 255))
    return damage_bytes(rng, exif.tobytes()) if rng.random() < 0.6 else exif.tobytes()


def _damage_png(rng: random.Random, content: bytes) -> bytes:
    """Damage one chunk and give it the right check sum; half the time the one with sizes and mode."""
    chunks, place = [], 8
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        chunks.append((kind, content[place + 8 : place + 8 + length]))
        place += length + 12
    index = 0 if rng.random() < 0.5 else rng.randrange(len(chunks))
    kind, data = chunks[index]
    if index == 0 and len(data) == _HEADER.size:
        fields = list(_HEADER.unpack(data))
        fields[rng.randrange(2)] = rng.choice((0, 1, 17, 5000, 9000, 2**16, 2**31 - 1, 2**32 - 1))
        if rng.random() < 0.3:
            fields[rng.randrange(2, 7)] = rng.randrange(256)
        data = _HEADER.pack(*fields)
    elif kind == b"IDAT" and rng.random() < 0.3:
        data = zlib.compress(bytes(rng.choice((10, 10**6, 3 * 10**7))))
    else:
        data = damage_bytes(rng, data)
    chunks[index] = (kind, data)
    if rng.random() < 0.2:
        chunks.insert(1, rng.choice(((b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))), (b"iCCP", b"a\0\0xx"))))
    body = b"".join(
        struct.pack(">I4s", len(each), name) + each + struct.pack(">I", zlib.crc32(name + each))
        for name, each in chunks
    )
    return content[:8] + body
