"""Write the masks of a folder of pictures to files, for OfflineSegmentor."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from maskclippp.data.images import read_image
from maskclippp.data.layouts import files_below
from maskclippp.data.names import output_of, unique_names
from maskclippp.mask_generators.classical import felzenszwalb_labels
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

PICTURES = (".jpg", ".jpeg", ".png")


def write_masks(images: str | Path, out: str | Path, *, workers: int = 1, **options: float) -> int:
    """Segment every picture below a folder and write a label PNG of the same path and stem; files that exist are kept.

    Of pictures whose paths differ in their suffixes only, the PNGs keep these (``1.jpg.png``).

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
    below = [name for name in files_below(folder, without=[Path(out)]) if name.lower().endswith(PICTURES)]
    if not below:
        raise UserError(f"{folder}: no pictures ({', '.join(PICTURES)}) here")
    names = unique_names(below)
    jobs = [(folder / name, Path(out) / f"{output_of(names[name])}.png") for name in below]
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(partial(_write_one, options=options), jobs, chunksize=8)
        for _ in tqdm(done, total=len(jobs), desc="masks", unit="picture"):
            pass
    return len(jobs)


def _write_one(job: tuple[Path, Path], options: dict[str, float]) -> None:
    path, target = job
    if target.exists():
        return
    labels = felzenszwalb_labels(np.asarray(read_image(path)), **options)
    if labels.max() > 65535:
        raise UserError(f"{path}: {labels.max() + 1} regions do not fit into a 16-bit PNG; raise the scale")
    with atomic_write(target) as temporary:
        Image.fromarray(labels.astype(np.uint8 if labels.max() < 256 else np.uint16)).save(temporary)
