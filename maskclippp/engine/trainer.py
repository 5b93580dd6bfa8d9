"""The training loop: one step, and the hooks that do everything around it."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from detectron2.config import CfgNode
from detectron2.engine import TrainerBase, hooks
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from maskclippp.methods.base import Method, StepTargets
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

    A step sees one batch in parts: ``accumulation`` one after the other in each process. All are divided by what the
    whole batch is to be divided by, so that the gradient does not depend on how it was cut.

    Args:
        method: what trains.
        model: the method, or what wraps it for several processes.
        parts: lists of records.
        optimizer: over the method's trainable parameters.
        scaler: of the loss under fp16, else disabled.
        seed: of the random draws of a step.
        accumulation: parts of a batch in this process.
        amp_type: lower precision of the forward pass, or None.
        clip: see :func:`maskclippp.engine.optimizer.build_gradient_clipper`.
        read_periods: losses are read from the device and checked after multiples of these iterations; 0 means never.
    """

    def __init__(
        self,
        method: Method,
        model: nn.Module,
        parts: Iterable[list[Record]],
        optimizer: torch.optim.Optimizer,
        *,
        scaler: torch.amp.GradScaler,
        seed: int,
        accumulation: int = 1,
        amp_type: torch.dtype | None = None,
        clip: GradientClipper | None = None,
        read_periods: Sequence[int] = (WINDOW,),
    ) -> None:
        super().__init__()
        self.model = model.train()
        self.optimizer = optimizer
        self._method = method
        self._parts = iter(parts)
        self._scaler = scaler
        self._seed = seed
        self._accumulation = accumulation
        self._amp_type = amp_type
        self._clip = clip
        self._read_periods = [period for period in read_periods if period > 0]
        self._unread: list[tuple[dict[str, Tensor], float]] = []

    def run_step(self) -> None:
        """One step: batch, losses, gradients, update.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        start = time.perf_counter()
        parts = [next(self._parts) for _ in range(self._accumulation)]
        data_time = time.perf_counter() - start
        all_targets = self._targets(parts)
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        for number, (records, targets) in enumerate(zip(parts, all_targets, strict=True)):
            seed_everything(self._seed, Stream.PART, self.iter, comm.get_rank() * self._accumulation + number)
            with self._synchronised(number == self._accumulation - 1), self._autocast():
                losses = self.model(records, targets, self.iter)
                # The mean over processes, which is what gradients are, becomes their sum.
                total = sum(losses.values()) * comm.get_world_size()
                self._scaler.scale(total).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss.detach()
        self._update()
        self._unread.append((sums, data_time))
        done = self.iter + 1
        if done == self.max_iter or any(done % period == 0 for period in self._read_periods):
            self._read_losses()

    def _targets(self, parts: Sequence[list[Record]]) -> list[StepTargets]:
        """Make the targets of all parts, and give each the divisors of the whole batch."""
        found = []
        for records in parts:
            # The same state for all parts of the batch. After loading: without workers, that draws in this process too.
            seed_everything(self._seed, Stream.STEP, self.iter, 0)
            found.append(self._method.targets(records, self.iter))
        divisors = sum_divisors([each.divisors for each in found], self._method.device)
        return [replace(each, divisors=divisors) for each in found]

    def _synchronised(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Let processes share gradients after the last part only."""
        wrapped = isinstance(self.model, DistributedDataParallel)
        return self.model.no_sync() if wrapped and not is_last else contextlib.nullcontext()

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast("cuda", self._amp_type) if self._amp_type else contextlib.nullcontext()

    def _update(self) -> None:
        if self._clip is not None:
            self._scaler.unscale_(self.optimizer)
            self._clip([parameter for group in self.optimizer.param_groups for parameter in group["params"]])
        self._scaler.step(self.optimizer)
        self._scaler.update()

    def _read_losses(self) -> None:
        """Store the losses since the last time, summed over processes, and the longest waits for data.

        This is the only time that the host waits for the device.
        """
        names = list(self._unread[0][0])
        losses = torch.stack([torch.stack([sums[name].double() for name in names]) for sums, _ in self._unread])
        waits = torch.tensor([wait for _, wait in self._unread], device=losses.device)
        if comm.get_world_size() > 1:
            torch.distributed.all_reduce(losses)
            torch.distributed.all_reduce(waits, torch.distributed.ReduceOp.MAX)
        first = self.iter + 1 - len(self._unread)
        self._unread.clear()
        for iteration, values, wait in zip(range(first, self.iter + 1), losses.tolist(), waits.tolist(), strict=True):
            if not all(math.isfinite(value) for value in values):
                named = dict(zip(names, values, strict=True))
                raise FloatingPointError(f"loss is not finite at iteration {iteration}: {named}")
            self.storage.put_scalar("data_time", wait)
            self.storage.put_scalar("total_loss", sum(values))
            if len(names) > 1:
                self.storage.put_scalars(**dict(zip(names, values, strict=True)))


def sum_divisors(parts: Sequence[Mapping[str, float | Tensor]], device: torch.device) -> dict[str, float | Tensor]:
    """Add up the divisors of the parts of a batch, those of other processes too; the host does not wait for a device.

    Args:
        parts: of this process, each with the same names.
        device: where processes exchange numbers.
    """
    totals = {name: sum(part[name] for part in parts) for name in parts[0]}
    if comm.get_world_size() == 1:
        return totals
    values = torch.stack([torch.as_tensor(total, dtype=torch.float64, device=device) for total in totals.values()])
    torch.distributed.all_reduce(values)
    return dict(zip(totals, values.unbind(), strict=True))


def train(cfg: CfgNode, method: Method, *, seed: int, resume: bool) -> Results:
    """Train ``method`` from MODEL.WEIGHTS, or on from the newest checkpoint of OUTPUT_DIR, to SOLVER.MAX_ITER.

    Returns:
        What the evaluation after the last iteration found, see :func:`maskclippp.engine.evaluate.evaluate`.

    Raises:
        UserError: wrong config or files.
        FloatingPointError: a loss is not finite.
    """
    if comm.is_main_process():
        remove_leftovers(cfg.OUTPUT_DIR)
    optimizer = build_optimizer(cfg, method, method.parameter_rules)
    scheduler = build_scheduler(cfg, optimizer)
    amp_type = _amp_type(cfg)
    scaler = torch.amp.GradScaler("cuda", enabled=amp_type is torch.float16)
    checkpointer = Checkpointer(
        method,
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
        method,
        _distribute(method),
        build_train_loader(cfg, seed=seed, start_iteration=start_iteration),
        optimizer,
        scaler=scaler,
        seed=seed,
        accumulation=cfg.SOLVER.ACCUMULATION_STEPS,
        amp_type=amp_type,
        clip=build_gradient_clipper(cfg),
        # A checkpoint is not to be written before its losses have been checked.
        read_periods=(WINDOW, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD),
    )
    final: Results = {}
    trainer.register_hooks(_hooks(cfg, method, checkpointer, scheduler, resume=bool(newest), keep=final.update))
    trainer.train(start_iteration, cfg.SOLVER.MAX_ITER)
    return final


def _hooks(
    cfg: CfgNode,
    method: Method,
    checkpointer: Checkpointer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    *,
    resume: bool,
    keep: Callable[[Results], None],
) -> list[hooks.HookBase]:
    def evaluate_and_keep() -> Results:
        _share_buffers(method)
        results = evaluate(cfg, method)
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


def _distribute(method: Method) -> nn.Module:
    if comm.get_world_size() == 1:
        return method
    return DistributedDataParallel(
        method,
        device_ids=[torch.cuda.current_device()] if method.device.type == "cuda" else None,
        broadcast_buffers=False,
        find_unused_parameters=method.finds_unused_parameters,
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
