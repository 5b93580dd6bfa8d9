"""Counting pairs of predicted and true class, and means over classes."""

from __future__ import annotations

import numpy as np
import torch

from maskclippp.utils.errors import UserError


class ConfusionCounter:
    """A confusion matrix that is cheap for many small images and many classes.

    A bincount would cost a pass over (K + 1)^2 cells for every image. Label maps are flat in most places, so runs of
    equal pairs are counted, and only the cells that occur are touched.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
        """(K+1, K+1) int64; rows are predictions, columns true classes, the last ones no class."""

    def add(self, pred: np.ndarray, gt: np.ndarray, ignore_label: int | None = None, *, where: str = "input") -> None:
        """Count an image.

        Args:
            pred: predicted classes, whole numbers in 0..K (K = no class).
            gt: true classes of the same shape, in 0..K or ``ignore_label``.
            ignore_label: true label that counts in column K.
            where: file or index, for messages.

        Raises:
            UserError: shapes differ, or a value is out of range.
        """
        if pred.shape != gt.shape:
            raise UserError(f"{where}: prediction has shape {pred.shape}, ground truth {gt.shape}")
        if not pred.size:
            return
        none = self.num_classes
        gt = gt.astype(np.int32)
        if ignore_label is not None:
            gt[gt == ignore_label] = none
        for name, values in (("predicted", pred), ("true", gt)):
            low, high = values.min(), values.max()
            if low < 0 or high > none:
                raise UserError(f"{where}: {name} classes range from {low} to {high}, expected 0 to {none - 1}")
        gt += pred.astype(np.int32) * (none + 1)  # at most 46,340 classes
        pairs = gt.ravel()
        starts = np.flatnonzero(np.concatenate([[True], pairs[1:] != pairs[:-1]]))
        lengths = np.append(starts[1:], pairs.size) - starts
        np.add.at(self.matrix.reshape(-1), pairs[starts], lengths)

    def state_dict(self) -> torch.Tensor:
        """The matrix as a tensor."""
        return torch.from_numpy(self.matrix.copy())

    def add_state(self, state: torch.Tensor) -> None:
        """Add another matrix."""
        self.matrix += state.numpy()


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


def harmonic_mean(one: float, other: float) -> float:
    """Return 2ab / (a + b); 0 if both are 0, NaN if one is NaN."""
    return 0.0 if one + other == 0 else 2 * one * other / (one + other)
