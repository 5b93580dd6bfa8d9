"""From a name or a path to a file on this machine."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from ..errors import UserError
from ..paths import resolve
from .clip import find_clip_weights
from .download import download
from .known import WeightFile, known_file

logger = logging.getLogger(__name__)


def fetch(file: WeightFile, *, path: str | Path = "", url: str = "") -> Path:
    """Bring a known file to its place, or to ``path``, unless it is there; return it.

    Args:
        file: what to fetch.
        path: another place.
        url: another address, of a mirror.

    Raises:
        UserError: no connection, another hash, or a file that can only be fetched by hand.
    """
    if file.clip and not url:
        return find_clip_weights(*file.clip).fetch()
    path = Path(path or file.place)
    if os.path.isfile(path):
        return path
    if not (url or file.url or file.drive_id):
        raise UserError(f"{file.name} ({file.note}) has no known address: get it from their page and put it at {path}")
    logger.info("%s is not here, downloading (%s)", path, file.note)
    drive_id = "" if url else file.drive_id
    return download(path, url=url or file.url, drive_id=drive_id, hash_prefix=file.hash_prefix)


def ensure_weights(path: str | Path) -> Path:
    """Return the local file that a config's path means; a known one that is not there is downloaded to that path.

    A file that is neither there nor known is returned as it is: its reader says that it is missing.

    Raises:
        UserError: see :func:`fetch`.
    """
    local = Path(resolve(str(path)))
    known = None if os.path.exists(local) else known_file(local)
    return local if known is None else fetch(known, path=local)
