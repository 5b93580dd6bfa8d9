"""Silhouettes of the toy things as signed distances on a pixel grid."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.88


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.78


def _triangle(x: Array, y: Array) -> Array:
    y = y - 0.16
    return np.maximum(np.abs(x) * 0.866 - y * 0.5, y) - 0.54


def _heart(x: Array, y: Array) -> Array:
    """Two discs, and a wedge that touches them."""
    x = np.abs(x)
    lobes = np.hypot(x - 0.43, y + 0.36) - 0.5
    wedge = np.maximum(np.maximum(x + y - 0.777, x - y - 0.79) * 0.7071, -y - 0.36)
    return np.minimum(lobes, wedge)


def _cross(x: Array, y: Array) -> Array:
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 0.95, short - 0.29)


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - 0.7) - 0.24


def _moon(x: Array, y: Array) -> Array:
    """A disc less a smaller one; beyond the tips the nearest point is a tip."""
    outer, inner, shift = 0.95, 0.72, 0.5
    x, y = x + 0.08, np.abs(y)
    tip_x = (outer**2 - inner**2 + shift**2) / (2 * shift)
    tip_y = np.sqrt(outer**2 - tip_x**2)
    beyond_tip = x * tip_y - y * tip_x > shift * np.maximum(tip_y - y, 0)
    between = np.maximum(np.hypot(x, y) - outer, inner - np.hypot(x - shift, y))
    return np.where(beyond_tip, np.hypot(x - tip_x, y - tip_y), between)


def _star(x: Array, y: Array) -> Array:
    """Five points: the plane is folded into one tenth, where the outline is a straight line."""
    angle = np.arctan2(x, -y)
    folded = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    along, across = radius * np.cos(folded), radius * np.sin(folded)
    tip, notch = 1.05, 0.45
    notch_along, notch_across = notch * np.cos(np.pi / 5), notch * np.sin(np.pi / 5)
    normal = np.array([notch_across, tip - notch_along])
    normal = normal / np.linalg.norm(normal)
    return (along - tip) * normal[0] + across * normal[1]


_DISTANCES = {
    "circle": _circle, "square": _square, "triangle": _triangle, "heart": _heart,
    "cross": _cross, "ring": _ring, "moon": _moon, "star": _star,
}  # fmt: skip


def signed_distance(shape: str, x: Array, y: Array) -> Array:
    """Return the distance to the outline of ``shape``, negative inside.

    Args:
        shape: a word of ``classes.SHAPES``.
        x, y: coordinates (any equal shape) in units of the shape's radius, y down, (0, 0) its middle.
    """
    return _DISTANCES[shape](x, y)
