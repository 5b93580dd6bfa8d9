"""Confusion matrices: how they are counted, and how the counts of several processes become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from detectron2.utils import comm

from maskclippp.utils.errors import UserError


def confusion_matrix(
    pred: np.ndarray, gt: np.ndarray, num_classes: int, ignore_label: int | None = None, *, where: str = "input"
) -> np.ndarray:
    """Count pairs of predicted and true class.

    Args:
        pred: predicted classes, whole numbers in 0..K (K = no class).
        gt: true classes of the same shape, in 0..K-1 or ``ignore_label``.
        num_classes: K.
        ignore_label: true label that counts in row and column K only.
        where: file or index, for messages.

    Returns:
        (K+1, K+1) int64, rows are predictions, columns are true classes.

    Raises:
        UserError: shapes differ, or a value is out of range.
    """
    if pred.shape != gt.shape:
        raise UserError(f"{where}: prediction has shape {pred.shape}, ground truth {gt.shape}")
    gt = gt.astype(np.int64)
    if ignore_label is not None:
        gt = np.where(gt == ignore_label, num_classes, gt)
    for name, values in (("predicted", pred), ("true", gt)):
        if values.size and (values.min() < 0 or values.max() > num_classes):
            found = f"{values.min()} to {values.max()}"
            raise UserError(f"{where}: {name} classes range from {found}, expected 0 to {num_classes - 1}")
    side = num_classes + 1
    pairs = pred.astype(np.int64).ravel() * side + gt.ravel()
    return np.bincount(pairs, minlength=side * side).reshape(side, side)


@dataclass
class Counts:
    """What an evaluator adds up over images: confusion matrices by name, and which classes were seen in training.

    Attributes:
        matrices: name -> (K+1, K+1) int64.
        seen: (K,) bool, or None until an output told.
    """

    matrices: dict[str, np.ndarray] = field(default_factory=dict)
    seen: np.ndarray | None = None

    def add(self, name: str, matrix: np.ndarray) -> None:
        """Add to the matrix called ``name``."""
        self.matrices[name] = self.matrices[name] + matrix if name in self.matrices else matrix

    def set_seen(self, mask: torch.Tensor | np.ndarray | None) -> None:
        """Keep the (K,) mask of seen classes that an output carries, if it does."""
        if mask is not None:
            self.seen = as_array(mask).astype(bool)

    @classmethod
    def merge(cls, parts: Iterable[Counts]) -> Counts:
        """Return the exact sum of the counts of several processes."""
        merged = cls()
        for part in parts:
            for name, matrix in part.matrices.items():
                merged.add(name, matrix)
            merged.set_seen(part.seen)
        return merged

    def gather(self) -> Counts | None:
        """Return the sum over all processes on the main process, None on the others."""
        parts = comm.gather(self, dst=0)
        return self.merge(parts) if comm.is_main_process() else None


def as_array(values: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor of any device as a NumPy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def ratio(part: np.ndarray, whole: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return ``part / whole`` as float64 where ``valid``, NaN elsewhere."""
    result = np.full(part.shape, np.nan)
    result[valid] = part[valid] / whole[valid]
    return result


def mean(values: np.ndarray) -> float:
    """Return the mean of ``values``, NaN if there are none."""
    return float(values.mean()) if values.size else float("nan")


def seen_unseen_means(name: str, values: np.ndarray, valid: np.ndarray, seen: np.ndarray | None) -> dict[str, float]:
    """Return ``{name(S): ..., name(U): ...}`` in percent: means over the valid seen and the valid unseen classes.

    Empty if ``seen`` is None, all true or all false.
    """
    if seen is None or seen.all() or not seen.any():
        return {}
    return {f"{name}(S)": 100 * mean(values[valid & seen]), f"{name}(U)": 100 * mean(values[valid & ~seen])}
