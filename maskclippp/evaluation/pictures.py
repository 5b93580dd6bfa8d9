"""Pictures of results: which classes are taken for which, and the images that went worst."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from maskclippp.data.datasets.palette import palette
from maskclippp.data.images import read_image
from maskclippp.data.vocabularies import split_synonyms
from maskclippp.utils.files import atomic_write

from .worst import WorstCase, read_classes

MAX_CLASSES = 40
LEGEND_CLASSES = 8
LEGEND_WIDTH = 64


def draw_confusion(path: str | Path, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Draw what true classes (columns) are called (rows), in percent of all of a class; large vocabularies in part.

    Args:
        path: picture file to write.
        confusion: (K+1, K+1), rows are predictions, columns true classes; the last row, what is called nothing, is
            not drawn.
        class_names: K class entries. Of more than ``MAX_CLASSES``, those are shown that lose or take most.
    """
    counts = confusion[:-1, :-1].astype(np.float64)
    wrong = counts - np.diag(np.diag(counts))
    shown = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MAX_CLASSES])
    totals = np.maximum(confusion[:, :-1].sum(axis=0), 1)
    share = 100 * counts[np.ix_(shown, shown)] / totals[shown]
    names = [split_synonyms(class_names[index])[0] for index in shown]
    side = 3 + 0.25 * len(shown)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(np.maximum(share, 0.1), cmap="magma", norm=LogNorm(0.1, 100))
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.set_xlabel("ground truth")
    axes.set_ylabel("called")
    part = "" if len(shown) == len(class_names) else f" ({len(shown)} of {len(class_names)} classes, most confused)"
    axes.set_title(f"percent of each class{part}", fontsize=9)
    figure.colorbar(picture, ax=axes, shrink=0.7)
    _save(figure, path)


def draw_gallery(path: str | Path, cases: Iterable[WorstCase], class_names: Sequence[str], score_name: str) -> None:
    """Draw cases, worst first: picture, ground truth, prediction, and the pixels that are wrong.

    Args:
        path: picture file to write; nothing is written if there are no cases.
        cases: of :class:`~maskclippp.evaluation.worst.WorstCases`.
        class_names: K class entries.
        score_name: what the score of a case is.
    """
    cases = list(cases)
    if not cases:
        return
    num_classes = len(class_names)
    colours = np.array([*palette(num_classes), (0, 0, 0)], dtype=np.uint8)
    figure = Figure(figsize=(16, 3.4 * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), 4, squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        truth, prediction = read_classes(case.truth), read_classes(case.prediction)
        wrong = (truth != prediction) & (truth != num_classes)
        titles = (
            f"{'/'.join(Path(case.file_name).parts[-2:])}\n{score_name} {100 * case.score:.1f}",
            f"ground truth\n{_largest(truth, class_names)}",
            f"prediction\n{_largest(prediction, class_names)}",
            f"wrong (white): {100 * wrong.sum() / max((truth != num_classes).sum(), 1):.1f} % of labelled pixels\n",
        )
        white = np.repeat(wrong[..., None] * np.uint8(255), 3, axis=-1)
        layers = (read_image(case.file_name), colours[truth], colours[prediction], white)
        for axes, title, layer in zip(row, titles, layers, strict=True):
            axes.imshow(layer, interpolation="nearest")
            axes.set_title(title, fontsize=7)
            axes.set_axis_off()
    _save(figure, path)


def _largest(labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Names of the classes with most pixels."""
    counts = np.bincount(labels.ravel(), minlength=len(class_names) + 1)[:-1]
    order = [index for index in np.argsort(-counts, kind="stable")[:LEGEND_CLASSES] if counts[index]]
    return textwrap.fill(", ".join(split_synonyms(class_names[index])[0] for index in order), LEGEND_WIDTH)


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)
