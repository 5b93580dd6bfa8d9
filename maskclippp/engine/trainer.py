"""The training loop: one step, and the hooks that do everything around it."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskclippp.utils.errors import UserError, did_you_mean
from maskclippp.utils.files import remove_leftovers

from .checkpoint import Checkpointer
from .evaluate import Results, evaluate, summary
from .loader import Record, build_train_loader
from .optimizer import GradientClipper, build_gradient_clipper, build_optimizer, build_scheduler
from .seeding import Stream, seed_everything
from .tracking import WINDOW, build_writers

AMP_TYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}

logger = logging.getLogger(__name__)


class Trainer(TrainerBase):
    """Runs optimisation steps; logging, schedule, checkpoints and evaluation are hooks.

    Args:
        model: records -> {loss name: scalar}; may be wrapped for several processes.
        batches: one list of records per iteration.
        optimizer: over the model's trainable parameters.
        scaler: of the loss under fp16, else disabled.
        seed: dropout and other draws of step i depend on (seed, i, rank) only.
        amp_type: lower precision of the forward pass, or None.
        clip: see :func:`maskclippp.engine.optimizer.build_gradient_clipper`.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[list[Record]],
        optimizer: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler,
        seed: int,
        amp_type: torch.dtype | None = None,
        clip: GradientClipper | None = None,
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.optimizer = optimizer
        self._batches = iter(batches)
        self._scaler = scaler
        self._seed = seed
        self._amp_type = amp_type
        self._clip = clip

    def run_step(self) -> None:
        """One step: batch, losses, gradients, update.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        start = time.perf_counter()
        batch = next(self._batches)
        data_time = time.perf_counter() - start
        # After loading: without workers, that draws random numbers in this process too.
        seed_everything(self._seed, Stream.STEP, self.iter, comm.get_rank())
        with self._autocast():
            losses = self.model(batch)
        values = {name: loss.item() for name, loss in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise FloatingPointError(f"loss is not finite at iteration {self.iter}: {values}")
        self.optimizer.zero_grad()
        self._scaler.scale(sum(losses.values())).backward()
        self._update()
        self._record(values, data_time)

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast("cuda", self._amp_type) if self._amp_type else contextlib.nullcontext()

    def _update(self) -> None:
        if self._clip is not None:
            self._scaler.unscale_(self.optimizer)
            self._clip([parameter for group in self.optimizer.param_groups for parameter in group["params"]])
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def _record(self, losses: Mapping[str, float], data_time: float) -> None:
        """Store the mean of the losses over the ranks, and the longest wait for data."""
        gathered = comm.gather({**losses, "data_time": data_time})
        if not gathered:
            return
        means = {name: sum(each[name] for each in gathered) / len(gathered) for name in losses}
        self.storage.put_scalar("data_time", max(each["data_time"] for each in gathered))
        self.storage.put_scalar("total_loss", sum(means.values()))
        if len(means) > 1:
            self.storage.put_scalars(**means)


def train(cfg: CfgNode, model: nn.Module, *, seed: int, resume: bool) -> Results:
    """Train ``model`` from MODEL.WEIGHTS, or on from the newest checkpoint of OUTPUT_DIR, to SOLVER.MAX_ITER.

    Returns:
        What the evaluation after the last iteration found, see :func:`maskclippp.engine.evaluate.evaluate`.

    Raises:
        UserError: wrong config or files.
        FloatingPointError: a loss is not finite.
    """
    if comm.is_main_process():
        remove_leftovers(cfg.OUTPUT_DIR)
    optimizer = build_optimizer(cfg, model)
    scheduler = build_scheduler(cfg, optimizer)
    amp_type = _amp_type(cfg)
    scaler = torch.amp.GradScaler("cuda", enabled=amp_type is torch.float16)
    checkpointer = Checkpointer(
        model,
        cfg.OUTPUT_DIR,
        save_to_disk=comm.is_main_process(),
        optimizer=optimizer,
        scheduler=scheduler,
        grad_scaler=scaler,
    )
    newest = checkpointer.get_checkpoint_file() if resume else ""
    loaded = checkpointer.load(newest) if newest else checkpointer.load(cfg.MODEL.WEIGHTS, checkpointables=[])
    start_iteration = loaded["iteration"] + 1 if newest else 0
    trainer = Trainer(
        _distribute(model),
        build_train_loader(cfg, seed=seed, start_iteration=start_iteration),
        optimizer,
        scaler=scaler,
        seed=seed,
        amp_type=amp_type,
        clip=build_gradient_clipper(cfg),
    )
    final: Results = {}
    trainer.register_hooks(_hooks(cfg, model, checkpointer, scheduler, resume=bool(newest), keep=final.update))
    trainer.train(start_iteration, cfg.SOLVER.MAX_ITER)
    return final


def _hooks(
    cfg: CfgNode,
    model: nn.Module,
    checkpointer: Checkpointer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    *,
    resume: bool,
    keep: Callable[[Results], None],
) -> list[hooks.HookBase]:
    def evaluate_and_keep() -> Results:
        _share_buffers(model)
        results = evaluate(cfg, model)
        keep(results)
        return summary(results)

    chosen = [hooks.IterationTimer(), hooks.LRScheduler(scheduler=scheduler)]
    if comm.is_main_process():
        chosen.append(hooks.PeriodicCheckpointer(checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD))
    if cfg.DATASETS.TEST:
        chosen.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, evaluate_and_keep))
    else:
        logger.warning("DATASETS.TEST is empty: this training evaluates nothing")
    if comm.is_main_process():
        chosen.append(hooks.PeriodicWriter(build_writers(cfg, resume=resume), period=WINDOW))
    return chosen


def _distribute(model: nn.Module) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    # A step may leave parameters out (one synonym of many, an image without masks).
    return DistributedDataParallel(
        model,
        device_ids=[torch.cuda.current_device()] if on_gpu else None,
        broadcast_buffers=False,
        find_unused_parameters=True,
    )


def _share_buffers(model: nn.Module) -> None:
    """Give all ranks rank 0's buffers, which are what a checkpoint holds: batch statistics differ by rank."""
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def _amp_type(cfg: CfgNode) -> torch.dtype | None:
    if cfg.SOLVER.AMP.DTYPE not in AMP_TYPES:
        raise UserError(f"SOLVER.AMP.DTYPE '{cfg.SOLVER.AMP.DTYPE}'{did_you_mean(cfg.SOLVER.AMP.DTYPE, AMP_TYPES)}")
    if not cfg.SOLVER.AMP.ENABLED:
        return None
    if not cfg.MODEL.DEVICE.startswith("cuda"):
        logger.info("SOLVER.AMP.ENABLED has no effect on %s: training in float32", cfg.MODEL.DEVICE)
        return None
    return AMP_TYPES[cfg.SOLVER.AMP.DTYPE]
