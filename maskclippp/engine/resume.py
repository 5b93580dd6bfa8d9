"""What an output folder holds of earlier runs: the checkpoint to go on from, what the settings were, what to keep."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from maskclippp.config import load_config
from maskclippp.config.load import get_value, list_keys
from maskclippp.utils.errors import UserError, nearest
from maskclippp.utils.files import atomic_write
from maskclippp.utils.paths import resolve

from .seeding import SEED_FILE

CONFIG_FILE = "config.yaml"
NAME_FILE = "last_checkpoint"
# What a training leaves in its folder, besides the log, which goes on.
_LEFT = ("*.pth", NAME_FILE, CONFIG_FILE, SEED_FILE, "metrics.json", "events.out.tfevents.*", "inference")
_MAX_NAME_BYTES = 1000
_NOT_COMPARED = {"OUTPUT_DIR", "SEED", "DATALOADER.NUM_WORKERS"}
# The state of the optimizer brings its own.
_KEPT_BY_CHECKPOINT = {
    *("SOLVER.BASE_LR", "SOLVER.BACKBONE_MULTIPLIER", "SOLVER.VISUAL_ENCODER_MULTIPLIER"),
    *("SOLVER.TEXT_ENCODER_MULTIPLIER", "SOLVER.WEIGHT_DECAY", "SOLVER.WEIGHT_DECAY_NORM"),
    *("SOLVER.WEIGHT_DECAY_EMBED", "SOLVER.WEIGHT_DECAY_BIAS"),
}

logger = logging.getLogger(__name__)


def checkpoint_files(folder: str | Path) -> list[Path]:
    """Return the checkpoints in a folder, whole or not, in the order of their names."""
    return sorted(path for path in Path(folder).glob("*.pth") if not path.name.startswith("."))


def require_run(folder: str | Path, *, eval_only: bool) -> None:
    """Check that there is something to resume; a training may have been killed before its first checkpoint.

    Raises:
        UserError: there is no run in the folder, or nothing to evaluate.
    """
    folder = Path(folder)
    if checkpoint_files(folder) or (folder / NAME_FILE).exists():
        return
    if eval_only:
        raise UserError(
            f"--resume: {folder} holds no checkpoint; check --tag, or leave out --resume and set MODEL.WEIGHTS"
        )
    if (folder / CONFIG_FILE).is_file():
        return
    others = [each.name for each in folder.parent.glob("*") if (each / CONFIG_FILE).is_file()]
    similar = nearest(folder.name, others)
    hint = f"; did you mean {', '.join(similar)}?" if similar else ""
    raise UserError(f"--resume: there is no run in {folder}; check --tag, or leave out --resume to start anew{hint}")


def newest_checkpoint(folder: str | Path) -> Path | None:
    """Return the checkpoint to go on from, or None where no checkpoint was ever written.

    That is the one that ``last_checkpoint`` names, if it reads; else, which is said, the one with the highest iteration
    among those that read.

    Raises:
        UserError: there were checkpoints, but none can be read.
    """
    files = checkpoint_files(folder)
    named, complaint = _named(Path(folder) / NAME_FILE)
    if not files:
        if complaint is None and named is None:
            return None
        problem = complaint or f"{Path(folder) / NAME_FILE} names {named.name}, which is not there"
        raise UserError(f"{problem}, and there is no other checkpoint; leave out --resume to start anew")
    complaints = [complaint] if complaint else []
    iterations = {path: _iteration(path) for path in files}
    order = sorted(files, key=lambda path: (path == named, -1 if iterations[path] is None else iterations[path]))
    if named is not None and named not in files:
        complaints.append(f"{NAME_FILE} names {named.name}, which is not there")
    for path in reversed(order):
        if iterations[path] is not None and _is_undamaged(path):
            if complaints:
                logger.warning("%s: going on from %s, iteration %d", "; ".join(complaints), path, iterations[path] + 1)
            return path
        complaints.append(f"{path.name} is damaged, or no checkpoint of a training")
    raise UserError(
        f"{folder}: none of its checkpoints can be read ({', '.join(path.name for path in files)}); "
        "copy one there again, or leave out --resume to start anew"
    )


def _named(file: Path) -> tuple[Path | None, str | None]:
    """The path that ``last_checkpoint`` names, and what is wrong with the file."""
    try:
        with open(file, "rb") as content:
            text = content.read(_MAX_NAME_BYTES).decode("utf-8").strip()
    except FileNotFoundError:
        return None, f"{file} is missing" if checkpoint_files(file.parent) else None
    except (OSError, UnicodeDecodeError):
        return None, f"{file} cannot be read"
    if not text or not text.isprintable() or Path(text).name != text:
        return None, f"{file} names no file of its folder"
    return file.parent / text, None


def _iteration(path: Path) -> int | None:
    """The iteration that a checkpoint was written after; None: it is no such file, or damaged."""
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        iteration = content["iteration"] if "model" in content else None
    except Exception:  # a damaged file can raise anything, and the text advises to load unsafely
        return None
    return iteration if type(iteration) is int and iteration >= 0 else None


def _is_undamaged(path: Path) -> bool:
    """Compare the checksums, which torch writes and does not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError):
        return False


def begin(cfg: CfgNode, *, resume: bool) -> None:
    """Make the output folder ready for a training, on the main process, and keep the config there.

    A new run moves what an earlier one has left into a folder of its own; a resumed run says which settings differ.

    Raises:
        UserError: the new run begins with weights that would be moved.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if resume:
        differences = _differences(folder, cfg)
        if differences:
            logger.warning("--resume: settings differ from those of the run before: %s", "; ".join(differences))
        if not checkpoint_files(folder):
            logger.warning("--resume: %s holds no checkpoint yet: starting at iteration 0", folder)
    else:
        _set_aside(folder, cfg.MODEL.WEIGHTS)
    keep_config(cfg, CONFIG_FILE)


def keep_config(cfg: CfgNode, name: str) -> None:
    """Write the config into the output folder."""
    with atomic_write(Path(cfg.OUTPUT_DIR) / name) as temporary:
        temporary.write_text(cfg.dump(), encoding="utf-8")


def _set_aside(folder: Path, weights: str) -> None:
    checkpoints = checkpoint_files(folder)
    if not checkpoints:
        return
    if weights and Path(resolve(weights)).resolve() in {path.resolve() for path in checkpoints}:
        raise UserError(
            f"MODEL.WEIGHTS {weights} is of the run that this one would replace; give another --tag, or --resume"
        )
    number = 1
    while (target := folder / f"earlier_{number}").exists():
        number += 1
    target.mkdir()
    for pattern in _LEFT:
        for path in folder.glob(pattern):
            path.rename(target / path.name)
    logger.warning(
        "%s held a run with %d checkpoints; it was moved to %s, and this one starts at iteration 0 (--resume goes on)",
        *(folder, len(checkpoints), target),
    )


def _differences(folder: Path, cfg: CfgNode) -> list[str]:
    """``KEY old -> new`` for each key that has changed since the folder's config was written."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return [f"{path} is missing, so they cannot be compared"]
    try:
        before = load_config(path)
    except UserError as error:
        return [f"they cannot be compared ({error})"]
    keys = sorted(key for key in list_keys(cfg) if key not in _NOT_COMPARED)
    pairs = [(key, get_value(before, key), get_value(cfg, key)) for key in keys]
    pairs = [*_seeds(folder, cfg.SEED), *((key, old, new) for key, old, new in pairs if _plain(old) != _plain(new))]
    return [f"{key} {old!r} -> {new!r}{_effect(key)}" for key, old, new in pairs]


def _seeds(folder: Path, seed: int) -> list[tuple[str, Any, Any]]:
    try:
        remembered = (folder / SEED_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return []
    return [("SEED", int(remembered), seed)] if remembered.isdecimal() and seed not in (int(remembered), -1) else []


def _effect(key: str) -> str:
    return " (without effect: the checkpoint keeps the old one)" if key in _KEPT_BY_CHECKPOINT else ""


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else value
