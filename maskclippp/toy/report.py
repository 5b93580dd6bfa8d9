"""The demo's page: one self-contained HTML file with the table, the training curves and a gallery."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np

from maskclippp.data.datasets.palette import palette

from .gallery import GalleryEntry, SegmentedScene, original, paint, paint_labels, to_data_uri

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (the backend is chosen first)

SHOWN_SHARE = 0.01
"""Smaller classes of a picture get no chip."""


@dataclass(frozen=True)
class Row:
    """One line of the table, in percent: before, the runs after tuning, and the gain that is asked for."""

    name: str
    before: float
    after: tuple[float, ...]
    margin: float | None = None

    @property
    def mean(self) -> float:
        """Mean of the runs."""
        return float(np.mean(self.after))

    @property
    def spread(self) -> float:
        """Sample standard deviation of the runs; 0 for a single one."""
        return float(np.std(self.after, ddof=1)) if len(self.after) > 1 else 0.0

    @property
    def gain(self) -> float:
        """Mean minus before."""
        return self.mean - self.before

    @property
    def met(self) -> bool:
        """Whether the gain reaches the margin; true without one."""
        return self.margin is None or self.gain >= self.margin


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title, summary: head line and a paragraph.
        rows: the main table.
        breakdown: further rows by kind of class, without margins.
        curves: run name -> (iterations, losses).
        class_names: first name of each class.
        gallery: scenes whose true masks are named.
        scenes: scenes whose masks are found as well.
        notes: sentences at the end.
    """

    title: str
    summary: str
    rows: Sequence[Row]
    breakdown: Sequence[Row]
    curves: dict[str, tuple[list[int], list[float]]]
    class_names: Sequence[str]
    gallery: Sequence[GalleryEntry]
    scenes: Sequence[SegmentedScene]
    notes: Sequence[str]


def text_table(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    lines = [f"{'test scenes, %':<44}{'original CLIP':>14}{'MaskCLIP++':>18}{'gain':>8}{'asked for':>11}"]
    for row in rows:
        asked = "" if row.margin is None else f">= {row.margin:+.0f}"
        verdict = "" if row.met else "  MISSED"
        after = f"{row.mean:.1f} ± {row.spread:.1f}"
        lines.append(f"{row.name:<44}{row.before:>14.1f}{after:>18}{row.gain:>+8.1f}{asked:>11}{verdict}")
    return "\n".join(lines)


def render(report: Report) -> str:
    """Return the page as HTML text; pictures and curves are inside it."""
    parts = [
        f"<h1>{html.escape(report.title)}</h1><p class=lead>{html.escape(report.summary)}</p>",
        f"<h2>Original CLIP → MaskCLIP++</h2>{_table(report.rows)}",
        f"<h2>By kind of class</h2>{_table(report.breakdown)}" if report.breakdown else "",
        f"<h2>Training</h2><figure class=curves>{_curves(report.curves)}</figure>" if report.curves else "",
        f"<h2>Gallery: ground-truth masks</h2>{_legend_help()}{_gallery(report)}",
        f"<h2>Gallery: generated masks</h2>{_scenes(report)}" if report.scenes else "",
        "<h2>Notes</h2><ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in report.notes) + "</ul>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(report.title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _table(rows: Sequence[Row]) -> str:
    asked = any(row.margin is not None for row in rows)
    head = "<tr><th>test scenes, %<th>original CLIP<th>MaskCLIP++<th>gain" + ("<th>asked for" if asked else "")
    return f"<table>{head}{''.join(_table_row(row, asked) for row in rows)}</table>"


def _table_row(row: Row, asked: bool) -> str:
    width = max(0.0, min(100.0, row.mean))
    bar = f"<div class=bar><i style='width:{row.before:.1f}%'></i><b style='width:{width:.1f}%'></b></div>"
    cells = f"<td>{row.before:.1f}<td>{row.mean:.1f} ± {row.spread:.1f}<td>{row.gain:+.1f}"
    if asked:
        verdict = "" if row.margin is None else f"≥ {row.margin:+.0f} {'✓' if row.met else '✗ missed'}"
        cells += f"<td class={'good' if row.met else 'bad'}>{verdict}"
    return f"<tr><td>{html.escape(row.name)}{bar}{cells}"


def _curves(curves: dict[str, tuple[list[int], list[float]]]) -> str:
    figure, axes = plt.subplots(figsize=(8, 3))
    for name, (iterations, losses) in curves.items():
        axes.plot(iterations, losses, label=name, linewidth=1.5)
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _legend_help() -> str:
    return (
        "<p>The masks are the ground truth's; each model only names them. Chips show the class that a mask gets; "
        "<span class='chip wrong'>a struck frame</span> means a wrong name. Dark pixels carry no label.</p>"
    )


def _gallery(report: Report) -> str:
    colors = palette(len(report.class_names))
    return "".join(_scene(entry, report.class_names, colors) for entry in report.gallery)


def _scene(entry: GalleryEntry, names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> str:
    panels = [
        f"<figure><img src='{to_data_uri(original(entry.image))}' alt='scene'><figcaption>image</figcaption></figure>"
    ]
    for title, predicted in (("ground truth", entry.classes), ("before", entry.before), ("after", entry.after)):
        right = sum(p == t for p, t in zip(predicted, entry.classes, strict=True))
        count = "" if title == "ground truth" else f" — {right} of {len(entry.classes)} right"
        picture = to_data_uri(paint(entry, predicted, colors))
        chips = "".join(_chip(names[p], colors[p], wrong=p != t) for p, t in zip(predicted, entry.classes, strict=True))
        panels.append(
            f"<figure><img src='{picture}' alt='{title}'><figcaption>{title}{count}</figcaption>{chips}</figure>"
        )
    return f"<div class=scene>{''.join(panels)}</div>"


def _image_panel(image: np.ndarray) -> str:
    return f"<figure><img src='{to_data_uri(original(image))}' alt='scene'><figcaption>image</figcaption></figure>"


def _scenes(report: Report) -> str:
    text = (
        "<p>A Mask2Former trained on the seen classes finds the masks; each model names them. Chips show the classes "
        "in the picture; <span class='chip wrong'>a struck frame</span> means that the scene has no such class.</p>"
    )
    colors = palette(len(report.class_names))
    return text + "".join(_segmented(scene, report.class_names, colors) for scene in report.scenes)


def _segmented(scene: SegmentedScene, names: Sequence[str], colors: Sequence[tuple[int, int, int]]) -> str:
    labelled = scene.truth != scene.ignore
    present = set(np.unique(scene.truth[labelled]).tolist())
    panels = [_image_panel(scene.image)]
    for title, labels in (("ground truth", scene.truth), ("before", scene.before), ("after", scene.after)):
        right = (labels == scene.truth)[labelled].mean()
        count = "" if title == "ground truth" else f" — {100 * right:.0f} % of pixels right"
        picture = to_data_uri(paint_labels(scene.image, labels, colors, scene.ignore))
        classes, areas = np.unique(labels[labels != scene.ignore], return_counts=True)
        shown = classes[areas >= SHOWN_SHARE * labels.size].tolist()
        chips = "".join(_chip(names[each], colors[each], wrong=each not in present) for each in shown)
        panels.append(
            f"<figure><img src='{picture}' alt='{title}'><figcaption>{title}{count}</figcaption>{chips}</figure>"
        )
    return f"<div class=scene>{''.join(panels)}</div>"


def _chip(name: str, color: tuple[int, int, int], *, wrong: bool) -> str:
    swatch = "rgb({},{},{})".format(*color)
    return (
        f"<span class='chip{' wrong' if wrong else ''}'><i style='background:{swatch}'></i>{html.escape(name)}</span>"
    )


_STYLE = """
body{margin:0;background:#f6f7f9;color:#1c2430;font:16px/1.5 system-ui,sans-serif}
main{max-width:1160px;margin:0 auto;padding:24px}
h1{margin:.2em 0}.lead{color:#4a5568;max-width:70ch}h2{margin-top:1.6em}
table{border-collapse:collapse;background:#fff;box-shadow:0 1px 3px #0002;border-radius:8px;overflow:hidden}
th,td{padding:8px 16px;text-align:right;border-bottom:1px solid #e8ebf0}th{background:#eef1f6;font-weight:600}
th:first-child,td:first-child{text-align:left;min-width:320px}
.good{color:#157347}.bad{color:#b02a37;font-weight:600}
.bar{position:relative;height:6px;background:#eef1f6;border-radius:3px;margin-top:4px}
.bar b,.bar i{position:absolute;left:0;top:0;height:6px;border-radius:3px}.bar b{background:#3b82f6;opacity:.45}
.bar i{background:#64748b;z-index:1}
.curves{margin:0;background:#fff;border-radius:8px;box-shadow:0 1px 3px #0002;padding:8px}
.curves svg{width:100%;height:auto}
.scene{display:grid;grid-template-columns:repeat(4,1fr);gap:16px;background:#fff;border-radius:8px;
box-shadow:0 1px 3px #0002;padding:16px;margin:16px 0}
.scene figure{margin:0}.scene img{width:100%;border-radius:4px;display:block}
figcaption{font-weight:600;margin:6px 0}
.chip{display:inline-flex;align-items:center;gap:6px;font-size:13px;border:1px solid #d6dbe4;border-radius:999px;
padding:1px 10px 1px 6px;margin:2px 4px 2px 0;background:#fff}
.chip i{width:12px;height:12px;border-radius:50%;border:1px solid #0003}
.chip.wrong{border-color:#dc3545;background:#fdecee;text-decoration:line-through}
@media(max-width:800px){.scene{grid-template-columns:repeat(2,1fr)}}
"""
