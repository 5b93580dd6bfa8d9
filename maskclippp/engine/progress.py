"""What an evaluation has done so far, on disk: after a kill the same command goes on instead of starting over.

Every rank saves the state of its evaluator now and then beside the results; the files go when the evaluation is over. A
state is used only if everything that can change a number is the same as when it was saved: weights (their bytes),
config, records and metadata of the dataset (class entries, things, ignored label), size and modification time of every
file that is read, number of processes, and the version of this package. That is checked, so it needs no option;
``--resume`` would load another checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from maskclippp import __version__
from maskclippp.evaluation.streaming import StreamingEvaluator
from maskclippp.utils.files import atomic_write, remove_leftovers
from maskclippp.utils.torch_files import save_torch

from .file_stamps import evaluation_stamps

STATE_FORMAT = 2
"""To be raised when the meaning of a saved state changes without another version of the package."""
# Keys that change no result.
_WITHOUT_EFFECT = ("OUTPUT_DIR", "SOLVER", "WANDB", "DATALOADER", "SEED", "CUDNN_BENCHMARK")
_WITHOUT_EFFECT_IN_TEST = ("EVAL_PERIOD", "EXPECTED_RESULTS", "SAVE_STATE_SECONDS")

logger = logging.getLogger(__name__)


class Progress:
    """The saved state of one evaluation by this process.

    Args:
        folder: of the results.
        identity: see :func:`identity`.
        seconds: between two saves; 0: never save, never restore.
    """

    def __init__(self, folder: str | Path, identity: str, seconds: float) -> None:
        self._folder = Path(folder)
        self._path = self._folder / f"state_{comm.get_rank()}_of_{comm.get_world_size()}.pth"
        self._identity = identity
        self._seconds = seconds
        self._start = self._last = time.monotonic()

    def restore(self, evaluator: StreamingEvaluator) -> int:
        """Add the saved state, if there is one that belongs to this evaluation; return the images that are done."""
        if not self._seconds or not self._path.is_file():
            return 0
        try:
            saved = torch.load(self._path, weights_only=True)
            identity, done, state = saved["identity"], saved["done"], saved["state"]
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
            # The text of the error is advice to load unsafely.
            logger.warning("%s cannot be read (%s): evaluation starts over", self._path, type(error).__name__)
            return 0
        if identity != self._identity:
            logger.info(
                "%s is of another model, config or dataset: evaluation starts over (changed files count)", self._path
            )
            return 0
        evaluator.add_state(state)
        logger.info("evaluation goes on after %d images (%s; remove it to start over)", done, self._path)
        return done

    def save_if_due(self, evaluator: StreamingEvaluator, done: int) -> None:
        """Save the state after ``done`` images of this process, if the last time is long enough ago."""
        if self._seconds and time.monotonic() - self._last >= self._seconds:
            self._save(evaluator, done)

    def save_at_end(self, evaluator: StreamingEvaluator, done: int) -> None:
        """Save before the scores are computed, if the run was long enough for that to matter."""
        if self._seconds and time.monotonic() - self._start >= self._seconds:
            self._save(evaluator, done)

    def remove(self) -> None:
        """Remove the states of all processes; the evaluation is over."""
        if comm.is_main_process():
            remove_leftovers(self._folder)
            for path in self._folder.glob("state_*_of_*.pth"):
                path.unlink()

    def _save(self, evaluator: StreamingEvaluator, done: int) -> None:
        with atomic_write(self._path) as path:
            save_torch({"identity": self._identity, "done": done, "state": evaluator.state_dict()}, path)
        self._last = time.monotonic()


def identity(
    cfg: CfgNode, weights: str, records: Sequence[dict[str, Any]], metadata: Mapping[str, Any] | None = None
) -> str:
    """Return a hash of what decides the result of an evaluation; files count by size and modification time.

    Args:
        cfg: the configuration; keys without effect on results are left out.
        weights: of :func:`weights_hash`.
        records: of the dataset.
        metadata: of the dataset.
    """
    relevant = {key: value for key, value in _plain(cfg).items() if key not in _WITHOUT_EFFECT}
    relevant["TEST"] = {key: value for key, value in relevant["TEST"].items() if key not in _WITHOUT_EFFECT_IN_TEST}
    # The weights count by content, wherever they come from.
    relevant["MODEL"] = relevant["MODEL"] | {"WEIGHTS": weights}
    metadata = metadata or {}
    files = evaluation_stamps(relevant, records, metadata)
    version = [__version__, STATE_FORMAT, comm.get_world_size()]
    content = [version, relevant, list(records), _pairs(metadata), files]
    return hashlib.blake2b(json.dumps(content, default=_as_json).encode(), digest_size=16).hexdigest()


def weights_hash(model: nn.Module) -> str:
    """Return a hash of the bytes of all weights (about a second per gigabyte)."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _pairs(metadata: Mapping[str, Any]) -> list[Any]:
    """Dicts as pairs: JSON would make equal keys of 1 and "1"."""
    return [[key, list(value.items()) if isinstance(value, Mapping) else value] for key, value in metadata.items()]


def _as_json(value: Any) -> Any:
    """What JSON does not know, in a form that is the same in every process."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    return str(value) if isinstance(value, Path) else type(value).__name__


def _plain(node: Any) -> Any:
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, CfgNode) else node
