"""Checkpoints of a run: only the parts that were tuned, beside the optimizer's state; written whole or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer as _Checkpointer

from maskclippp.methods import Method
from maskclippp.utils.checkpoint_io import compare_keys, read_checkpoint
from maskclippp.utils.dist import broadcast_object
from maskclippp.utils.errors import UserError, show
from maskclippp.utils.files import atomic_write
from maskclippp.utils.model_signatures import looks_like
from maskclippp.utils.torch_files import save_torch

from .resume import newest_checkpoint
from .training_state import load_training_state

logger = logging.getLogger(__name__)


class Checkpointer(_Checkpointer):
    """fvcore's checkpointer with tensors-only reading, atomic writing and clear words about what does not fit.

    Only the state-dict entries under the method's ``checkpoint_prefixes`` are saved, and only those count as missing
    when a file lacks them: the rest (frozen CLIP, mask generator) comes from its own pre-trained weights. The method
    brings the entries of a file to its own names first.

    Args:
        for_evaluation: refuse weights of other sizes than the model's; training may begin from them, as from those of
            another vocabulary.
    """

    def __init__(
        self,
        model: Method,
        save_dir: str = "",
        *,
        save_to_disk: bool = True,
        for_evaluation: bool = False,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **checkpointables)
        self.for_evaluation = for_evaluation
        self.loaded: set[str] = set()  # names in the model that a file has filled
        self.prefixes = model.checkpoint_prefixes

    def save(self, name: str, **extra: Any) -> None:
        """Write ``save_dir/NAME.pth``, then name it in ``last_checkpoint``; a kill in between leaves the older one."""
        if not self.save_dir or not self.save_to_disk:
            return
        weights = {key: value for key, value in self.model.state_dict().items() if key.startswith(self.prefixes)}
        states = {key: thing.state_dict() for key, thing in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        logger.info("Saving checkpoint to %s", path)
        with atomic_write(path) as temporary:
            save_torch({"model": weights, **states, **extra}, temporary)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Let ``last_checkpoint`` name the newest file."""
        with atomic_write(Path(self.save_dir) / "last_checkpoint") as temporary:
            temporary.write_text(last_filename_basename)

    def get_checkpoint_file(self) -> str:
        """Return the checkpoint of ``save_dir`` to go on from, the same on all processes; "" where there is none.

        Raises:
            UserError: there were some, but none can be read.
        """
        found = newest_checkpoint(self.save_dir) if self.save_dir and comm.is_main_process() else None
        return broadcast_object(str(found or ""))

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to go on from."""
        return bool(self.get_checkpoint_file())

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Load the newest checkpoint of ``save_dir`` with all states if ``resume``, else the weights at ``path``."""
        newest = self.get_checkpoint_file() if resume else ""
        return self.load(newest) if newest else self.load(path, checkpointables=[])

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load weights and the named ``checkpointables`` (None: all); return what else the file holds.

        An empty ``path`` leaves the model as its config built it. With ``checkpointables=[]`` a file that fits only
        partly is reported as a table; when states are loaded too, this is the continuation of a run and all must fit.

        Raises:
            UserError: unreadable file, nothing that fits, a continuation that does not fit, or in evaluation weights
                of other sizes.
        """
        if not path:
            logger.info("MODEL.WEIGHTS is empty: the model stays as its config built it")
            return {}
        logger.info("Loading %s", path)
        checkpoint = read_checkpoint(path)
        self._fill(path, checkpoint.pop("model"), all_must_fit=checkpointables is None)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in checkpoint:
                raise UserError(f"{path}: has no '{key}' and cannot be continued from; start without --resume")
            state = checkpoint.pop(key)
            try:
                # Empty is the state of what was off: the loss scaler of a run on the CPU.
                if state or not isinstance(state, dict):
                    load_training_state(self.checkpointables[key], state)
            except ValueError as error:
                raise UserError(f"{path}: its '{key}' does not fit this config: {error}") from None
        iteration = checkpoint.get("iteration")
        if checkpointables is None and (type(iteration) is not int or iteration < 0):
            raise UserError(f"{path}: its 'iteration' is {show(iteration)}, it cannot be continued from")
        return checkpoint

    def _fill(self, path: str, weights: dict[str, torch.Tensor], *, all_must_fit: bool) -> None:
        weights = self.model.adapt_checkpoint(weights)
        state = self.model.state_dict()
        fit = compare_keys(state, weights, is_needed=lambda key: key.startswith(self.prefixes))
        if not fit.matched:
            guess = looks_like(weights)
            hint = f"it looks like {guess}" if guess else "is it for another config?"
            raise UserError(f"{path}: nothing in it fits the model; {hint}\n{fit.table()}")
        other_sizes = [each for each in fit.mismatched if each.startswith(self.prefixes)]
        if self.for_evaluation and other_sizes:
            others = f" (and {len(other_sizes) - 1} others)" if len(other_sizes) > 1 else ""
            raise UserError(
                f"{path}: it is of a model of another size, {other_sizes[0]}{others}; evaluate it with the config "
                "that it was trained with"
            )
        if not fit.complete:
            guess = looks_like(weights) if fit.mismatched else None
            hint = f"; it looks like {guess}" if guess else ""
            report = f"{path}: fits the model only partly{hint}\n{fit.table()}"
            if all_must_fit:
                raise UserError(report)
            logger.warning(report)
        self.model.load_state_dict({key: weights[key] for key in fit.matched}, strict=False)
        self.loaded.update(fit.matched)
