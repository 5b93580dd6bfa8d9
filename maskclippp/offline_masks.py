"""Write the masks of a folder of pictures to files, for OfflineSegmentor."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .data.images import read_image
from .data.layouts import is_visible
from .mask_generators.classical import felzenszwalb_labels
from .utils.errors import UserError
from .utils.files import atomic_write

PICTURES = (".jpg", ".jpeg", ".png")


def write_masks(images: str | Path, out: str | Path, *, workers: int = 1, **options: float) -> int:
    """Segment every picture of a folder and write a label PNG of the same stem; files that exist are kept.

    Args:
        images: folder of pictures.
        out: folder for the label maps; made if missing.
        workers: processes.
        options: of :func:`felzenszwalb_labels`.

    Returns:
        Number of pictures.

    Raises:
        UserError: no such folder, or no pictures in it.
    """
    folder = Path(images)
    paths = sorted(path for path in folder.glob("*") if is_visible(path) and path.suffix.lower() in PICTURES)
    if not paths:
        raise UserError(f"{folder}: no pictures ({', '.join(PICTURES)}) here")
    Path(out).mkdir(parents=True, exist_ok=True)
    job = partial(_write_one, out=Path(out), options=options)
    with ProcessPoolExecutor(workers) as pool:
        for _ in tqdm(pool.map(job, paths, chunksize=8), total=len(paths), desc="masks", unit="picture"):
            pass
    return len(paths)


def _write_one(path: Path, out: Path, options: dict[str, float]) -> None:
    target = out / f"{path.stem}.png"
    if target.exists():
        return
    labels = felzenszwalb_labels(np.asarray(read_image(path)), **options)
    if labels.max() > 65535:
        raise UserError(f"{path}: {labels.max() + 1} regions do not fit into a 16-bit PNG; raise the scale")
    with atomic_write(target) as temporary:
        Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(temporary)
