"""Showing a model's results on a test dataset to an evaluator; what an interrupted run has done is not done again."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from detectron2.evaluation import inference_context
from detectron2.utils import comm
from detectron2.utils.logger import log_every_n_seconds
from torch import nn

from maskclippp.evaluation.streaming import Scores, StreamingEvaluator

from .loader import Record
from .progress import Progress

WARM_UP = 5
"""Batches that are left out of the times."""

logger = logging.getLogger(__name__)


def run_inference(
    label: Callable[[list[Record]], list[dict[str, Any]]],
    model: nn.Module,
    load: Callable[[int], Iterable[list[Record]]],
    evaluator: StreamingEvaluator,
    progress: Progress,
) -> Scores:
    """Evaluate a model.

    Args:
        label: records -> one dict of results each.
        model: what labels them; put in evaluation mode for the while.
        load: number of images to leave out at the beginning -> batches of this process.
        evaluator: sees each batch once.
        progress: keeps the evaluator's state on disk.

    Returns:
        {task: {metric: value}} on the main process, an empty dict elsewhere.
    """
    evaluator.reset()
    done = progress.restore(evaluator)
    batches = load(done)
    total = len(batches)
    logger.info("Start inference on %d batches", total)
    watch = _Watch()
    with inference_context(model), torch.no_grad():
        for index, records in enumerate(batches, start=1):
            watch.begin(index)
            outputs = label(records)
            watch.model_done()
            evaluator.process(records, outputs)
            done += len(records)
            progress.save_if_due(evaluator, done)
            if index > 2 * WARM_UP:
                log_every_n_seconds(logging.INFO, watch.line(index, total), n=5, name=__name__)
    if total > WARM_UP:
        logger.info("Total %s", watch.summary(total))
    progress.save_at_end(evaluator, done)
    scores = evaluator.evaluate()
    progress.remove()
    return scores or {}


class _Watch:
    """Times after the first batches."""

    def __init__(self) -> None:
        self._start = self._batch_start = time.perf_counter()
        self._compute = 0.0

    def begin(self, index: int) -> None:
        """Batch ``index``, from 1, has been loaded."""
        self._batch_start = time.perf_counter()
        if index == WARM_UP + 1:
            self._start, self._compute = self._batch_start, 0.0

    def model_done(self) -> None:
        """The model has returned."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._compute += time.perf_counter() - self._batch_start

    def line(self, index: int, total: int) -> str:
        """How far the run is."""
        each = (time.perf_counter() - self._start) / (index - WARM_UP)
        compute = self._compute / (index - WARM_UP)
        left = datetime.timedelta(seconds=int(each * (total - index)))
        return f"Inference done {index}/{total}. Model: {compute:.4f} s/iter. Total: {each:.4f} s/iter. ETA={left}"

    def summary(self, total: int) -> str:
        """Total and pure compute time."""
        count, devices = total - WARM_UP, comm.get_world_size()
        seconds = time.perf_counter() - self._start
        return (
            f"inference time: {seconds:.1f} s ({seconds / count:.6f} s / iter per device, on {devices} devices), pure "
            f"compute time: {self._compute:.1f} s ({self._compute / count:.6f} s / iter per device)"
        )
