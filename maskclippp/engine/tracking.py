"""Where a run's numbers go: console with ETA, metrics.json, tensorboard, wandb."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter, get_event_storage

from maskclippp.utils.errors import UserError

WINDOW = 20


class WandbWriter(EventWriter):
    """Sends new scalars to a wandb run; with WANDB_MODE=offline in the environment they stay in ``folder/wandb``.

    Args:
        project, name: shown by wandb.
        folder: where wandb keeps its files.
        config: the run's settings.
        resume: continue the run that wandb remembers for this folder, if there is one.
    """

    def __init__(self, *, project: str, name: str, folder: str, config: dict[str, Any], resume: bool) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError("WANDB.ENABLED needs the package wandb: pip install wandb") from None
        try:
            self._run = wandb.init(
                project=project, name=name, dir=folder, config=config, resume="auto" if resume else None
            )
        except (wandb.errors.Error, ValueError, OSError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"WANDB.ENABLED: wandb does not start ({reason}); run `wandb login`, or set WANDB_MODE=offline in the "
                "environment, or WANDB.ENABLED False"
            ) from None
        self._last_iteration = -1

    def write(self) -> None:
        """Send the scalars that are newer than the last ones sent; noisy ones as the median of a window."""
        by_iteration: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
            if iteration > self._last_iteration:
                by_iteration[iteration][name] = value
        for iteration in sorted(by_iteration):
            self._run.log(by_iteration[iteration], step=iteration)
            self._last_iteration = iteration

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def build_writers(cfg: CfgNode, *, resume: bool) -> list[EventWriter]:
    """Return the writers of a training run (to be used on rank 0 only); wandb is imported only if WANDB.ENABLED.

    Raises:
        UserError: wandb is wanted and not installed, or does not start.
    """
    folder = cfg.OUTPUT_DIR
    writers: list[EventWriter] = [
        CommonMetricPrinter(cfg.SOLVER.MAX_ITER, WINDOW),
        JSONWriter(os.path.join(folder, "metrics.json"), WINDOW),
        TensorboardXWriter(folder, WINDOW),
    ]
    if cfg.WANDB.ENABLED:
        name = cfg.WANDB.NAME or "/".join(os.path.normpath(folder).split(os.sep)[-2:])
        settings = plain(cfg)
        writers.append(WandbWriter(project=cfg.WANDB.PROJECT, name=name, folder=folder, config=settings, resume=resume))
    return writers


def plain(node: CfgNode) -> dict[str, Any]:
    """Return a config as nested plain dicts."""
    return {key: plain(value) if isinstance(value, CfgNode) else value for key, value in node.items()}
