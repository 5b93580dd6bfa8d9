"""The table of all known weight files."""

from __future__ import annotations

from pathlib import Path

from .clip import find_clip_weights
from .known import KNOWN, WeightFile

KINDS = {
    "clip": "CLIP",
    "generator": "Mask generators",
    "backbone": "Backbones trained on ImageNet",
    "tuned": "Tuned MaskCLIP++ models",
}


def local_file(file: WeightFile) -> Path | None:
    """Return where a known file is on this machine; None: nowhere."""
    if file.clip:
        return find_clip_weights(*file.clip).local()
    return file.place if file.place.is_file() else None


def table() -> str:
    """Return a line per known file: size, presence, name, place, source. Nothing is downloaded."""
    blocks = []
    for kind, title in KINDS.items():
        rows = [_row(file) for file in KNOWN.values() if file.kind == kind]
        here = sum(present for present, _ in rows)
        blocks.append("\n".join([f"{title} ({here} of {len(rows)} here)", *(text for _, text in rows)]))
    return "\n\n".join([*blocks, "Sizes with ~ are estimated from the published key lists, in float32."])


def _row(file: WeightFile) -> tuple[bool, str]:
    found = local_file(file)
    if found is not None:
        size = f"{found.stat().st_size / 1e9:.2f} GB"
    else:
        size = f"~{file.about_bytes / 1e9:.2f} GB" if file.about_bytes else "?"
    where = found or (f"the hub's cache, or by hand {file.place}" if file.clip else file.place)
    lines = [
        f"  {'present' if found else 'missing':8} {size:>9}  {file.name}",
        f"{'':21} {'at' if found else 'to'} {where}",
        f"{'':21} {file.source} ({file.note})",
    ]
    return found is not None, "\n".join(lines)
