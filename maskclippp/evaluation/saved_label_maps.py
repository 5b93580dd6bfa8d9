"""Label maps as files to look at: PNGs with the colours of the classes, and beside them a list and a legend."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from maskclippp.data.datasets.palette import palette
from maskclippp.data.names import output_name
from maskclippp.data.vocabularies import split_synonyms
from maskclippp.utils.files import atomic_write

PREDICTIONS = "sem_seg_predictions"
"""Folder of saved label maps, below the results."""
CLASS_LIST, LEGEND = "sem_seg_classes.json", "sem_seg_legend.png"
"""Beside that folder, where no picture's name can be theirs."""
UNLABELLED = "unlabelled"
"""What pixels without a class are called there."""
_UNLABELLED_COLORS = ((0, 0, 0), (255, 255, 255), (128, 128, 128))
_ROWS = 40
_NAME_LENGTH = 30

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class SavedClass:
    """A value of saved label maps.

    Attributes:
        value: of its pixels, 0 to 65535.
        name: shown in list and legend.
        color: RGB, 0 to 255.
    """

    value: int
    name: str
    color: Colour


def unlabelled_value(num_classes: int, ignore_label: int) -> int:
    """Return the value of pixels without a class in maps of contiguous ids.

    It is the ignored value of the dataset, unless that one is a class or does not fit: then the largest of 8 or 16
    bits.
    """
    limit = 255 if num_classes < 256 and ignore_label < 256 else 65535
    return ignore_label if num_classes <= ignore_label <= limit else limit


def saved_classes(
    class_names: Sequence[str],
    unlabelled: int,
    colors: Sequence[Colour] | None = None,
    values: Sequence[int] | None = None,
) -> list[SavedClass]:
    """Return what saved maps hold: K classes, then pixels without a class.

    Args:
        class_names: K class entries; the first synonym counts.
        unlabelled: value of pixels without a class.
        colors: K colours; generated ones if there are none, or another number of them.
        values: K pixel values; by default the contiguous ids.
    """
    if colors is None or len(colors) != len(class_names):
        colors = palette(len(class_names))
    colors = [tuple(color) for color in colors]
    values = range(len(class_names)) if values is None else values
    names = [split_synonyms(entry)[0] for entry in class_names]
    free = next((color for color in _UNLABELLED_COLORS if color not in colors), _UNLABELLED_COLORS[0])
    classes = [SavedClass(*each) for each in zip(values, names, colors, strict=True)]
    return [*classes, SavedClass(unlabelled, UNLABELLED, free)]


def save_label_map(
    folder: str | Path, record: dict[str, Any], labels: np.ndarray, classes: Sequence[SavedClass]
) -> None:
    """Write the label map of a picture: ``sem_seg_predictions/<picture>.png``, below folders as the picture is.

    Args:
        folder: of the results.
        record: of the picture.
        labels, classes: as for :func:`write_label_map`.
    """
    write_label_map(Path(folder, PREDICTIONS, f"{output_name(record)}.png"), labels, classes)


def write_label_map(path: str | Path, labels: np.ndarray, classes: Sequence[SavedClass]) -> None:
    """Write a label map as PNG: with a palette if all values fit into 8 bits, else grey of 16 bits.

    Args:
        path: file to write.
        labels: (H, W), positions in ``classes``: K for pixels without a class.
        classes: all K+1 that maps of this dataset may hold; they decide on the kind of file.
    """
    values = np.array([each.value for each in classes])[labels]
    if max(each.value for each in classes) > 255:
        picture = Image.fromarray(values.astype(np.uint16))
    else:
        picture = Image.fromarray(values.astype(np.uint8))
        picture.putpalette(_palette({each.value: each.color for each in classes}))
    with atomic_write(path) as temporary:
        picture.save(temporary)


def write_legend(folder: str | Path, classes: Sequence[SavedClass]) -> None:
    """Write what the values of label maps are: a list of {"id", "name", "color"}, and a picture.

    Args:
        folder: that of the results, which gets ``CLASS_LIST`` and ``LEGEND``.
        classes: of the label maps, with the one for pixels without a class.
    """
    entries = [{"id": int(each.value), "name": each.name, "color": list(each.color)} for each in classes]
    with atomic_write(Path(folder, CLASS_LIST)) as temporary:
        temporary.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    handles = [
        Patch(facecolor=np.array(each.color) / 255, edgecolor="black", label=f"{each.value}  {_short(each.name)}")
        for each in classes
    ]
    figure = Figure(figsize=(2, 2))
    legend = figure.legend(handles=handles, ncols=math.ceil(len(handles) / _ROWS), loc="center", fontsize=9)
    with atomic_write(Path(folder, LEGEND)) as temporary:
        figure.savefig(temporary, dpi=100, bbox_inches="tight", bbox_extra_artists=[legend])


def _palette(colors: Mapping[int, Colour]) -> bytes:
    """The 256 colours of a picture; black where no class is."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for value, color in colors.items():
        table[value] = color
    return table.tobytes()


def _short(name: str) -> str:
    # A dollar sign would begin a formula.
    return (name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}...").replace("$", r"\$")
