"""What a weight file is by its first bytes, whatever it is called."""

from __future__ import annotations

import struct
import tarfile
import zipfile
from pathlib import Path

from ..errors import show

MAX_HEADER_BYTES = 100_000_000
"""Of a safetensors file, as its own library has it."""

MAX_UNPACKED_BYTES = 64 << 20
"""What an archive may hold beyond twice its size: torch packs nothing but the text of programs."""

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_FIRST_BYTES = {".pth": (_ZIP, _PICKLE), ".pt": (_ZIP, _PICKLE), ".bin": (_ZIP, _PICKLE), ".pkl": (_PICKLE,)}


def why_not_weights(path: str | Path, suffix: str = "") -> str:
    """Return why a file cannot be what its suffix says, "" if nothing speaks against it. Its content is not decoded.

    A page of a web site, a file that broke off, and an archive that would unpack to more than it is are found.

    Args:
        path: a regular file.
        suffix: what it shall be; by default the end of its own name. Nothing is known of other kinds.
    """
    suffix, size = suffix or Path(path).suffix, Path(path).stat().st_size
    with open(path, "rb") as file:
        begin = file.read(64)
    if suffix == ".safetensors":
        return _why_not_safetensors(begin, size)
    if suffix not in _FIRST_BYTES:
        return ""
    if not begin.startswith(_FIRST_BYTES[suffix]):
        return _looks_like(begin)
    if begin.startswith(_ZIP):
        return _why_not_archive(path, size)
    # Releases of torch before 2.6 unpickle what is in a tar archive without looking what it is.
    return "it is a tar archive" if tarfile.is_tarfile(path) else ""


def _why_not_safetensors(begin: bytes, size: int) -> str:
    if len(begin) < 8:
        return "it breaks off"
    length = struct.unpack("<Q", begin[:8])[0]
    if begin[8:9] != b"{" or length > MAX_HEADER_BYTES:
        return _looks_like(begin)
    return "it breaks off" if 8 + length > size else ""


def _why_not_archive(path: str | Path, size: int) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    # The module meets damaged entries with errors of many kinds.
    except Exception:
        return "it breaks off or is damaged"
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        return "it is a program of TorchScript; save its state_dict() instead"
    claimed = sum(entry.file_size for entry in entries)
    too_much = claimed > 2 * size + MAX_UNPACKED_BYTES
    return f"it claims to hold {claimed} bytes, and has {size}" if too_much else ""


def _looks_like(begin: bytes) -> str:
    if not begin:
        return "it is empty"
    page = " (a page of a web site)" if begin.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")) else ""
    return f"it begins with {show(begin[:16].decode('latin-1'))}{page}"
