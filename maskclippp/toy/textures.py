"""Surfaces of the toy world: eight tileable grounds, drawn once per process, and the colours and patterns of things."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.spatial import cKDTree

from .classes import COLOURS, STUFF

Array = np.ndarray
TILE = 256
VARIANTS = 4
PALETTE = {
    "red": (0.86, 0.13, 0.13), "yellow": (0.98, 0.83, 0.12), "green": (0.10, 0.62, 0.22), "blue": (0.13, 0.30, 0.88),
    "white": (0.96, 0.96, 0.95), "black": (0.09, 0.09, 0.11), "purple": (0.56, 0.16, 0.72),
}  # fmt: skip


def _noise(rng: np.random.Generator, power: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Array:
    """Return tileable noise (TILE, TILE), spectrum 1/f^power, zero mean, unit deviation; ``stretch``: (y, x) grain."""
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE)))
    rows = np.fft.fftfreq(TILE)[:, None] * TILE * stretch[0]
    columns = np.fft.rfftfreq(TILE)[None] * TILE * stretch[1]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum / np.maximum(frequency, 1.0) ** power, s=(TILE, TILE))
    return (field - field.mean()) / field.std()


def _mix(weight: Array, low: tuple[float, ...], high: tuple[float, ...]) -> Array:
    """Blend two colours by ``weight`` (h, w), clipped to [0, 1] -> (h, w, 3)."""
    weight = np.clip(weight, 0, 1)[..., None]
    return (1 - weight) * np.array(low) + weight * np.array(high)


def _grid() -> tuple[Array, Array]:
    return tuple(np.mgrid[:TILE, :TILE] / TILE)


def _grass(rng: np.random.Generator) -> Array:
    blades = _noise(rng, 0.9, (0.35, 1.6)) + 0.5 * _noise(rng, 1.5)
    return _mix(0.45 + 0.22 * blades, (0.10, 0.27, 0.06), (0.58, 0.78, 0.27))


def _gravel(rng: np.random.Generator) -> Array:
    """Pebbles: cells of jittered points, rounded by the distance to the cell's edge."""
    side = 26
    points = (np.mgrid[:side, :side].reshape(2, -1).T + rng.uniform(0.1, 0.9, (side * side, 2))) / side
    pixels = np.stack(_grid(), -1).reshape(-1, 2)
    distances, nearest = cKDTree(points, boxsize=1.0).query(pixels, k=2)
    edge = ((distances[:, 1] - distances[:, 0]) * side).reshape(TILE, TILE)
    tone = rng.uniform(0.35, 0.85, side * side)[nearest[:, 0]].reshape(TILE, TILE)
    light = tone * (0.35 + 0.65 * np.clip(edge * 2.2, 0, 1)) + 0.03 * _noise(rng, 0.3)
    return light[..., None] * np.array([1.0, 0.97, 0.94])


def _sand(rng: np.random.Generator) -> Array:
    y, _ = _grid()
    ripples = np.sin(2 * np.pi * (9 * y + 0.35 * _noise(rng, 1.8)))
    return _mix(0.5 + 0.16 * ripples + 0.13 * _noise(rng, 0.2), (0.72, 0.57, 0.36), (0.97, 0.87, 0.66))


def _wood(rng: np.random.Generator) -> Array:
    """Planks: each with its own tone and grain along it, dark joints between."""
    y, _ = _grid()
    plank = np.floor(y * 8).astype(int)
    grain = np.sin(2 * np.pi * (24 * y + 1.3 * _noise(rng, 1.8, (1.0, 4.0))))
    tone = rng.uniform(-0.18, 0.18, 8)[plank]
    wood = _mix(0.5 + tone + 0.17 * grain + 0.08 * _noise(rng, 0.6, (1.0, 6.0)), (0.33, 0.18, 0.08), (0.72, 0.48, 0.26))
    joint = np.abs(y * 8 - np.round(y * 8)) < 0.05
    return np.where(joint[..., None], wood * 0.45, wood)


def _sky(rng: np.random.Generator) -> Array:
    return _mix(0.25 + 0.45 * _noise(rng, 1.7, (1.6, 0.8)), (0.42, 0.68, 0.95), (0.96, 0.98, 1.0))


def _tiles(rng: np.random.Generator) -> Array:
    """Glazed square tiles in a pale green-blue with bright joints."""
    y, x = (axis * 10 for axis in _grid())
    tone = rng.uniform(-0.12, 0.12, (10, 10))[np.floor(y).astype(int), np.floor(x).astype(int)]
    glaze = 0.5 + tone + 0.35 * (1 - (y % 1) - 0.5 + 0.3 * (x % 1))
    tile = _mix(glaze, (0.28, 0.55, 0.56), (0.62, 0.85, 0.82))
    joint = np.maximum(np.abs(y - np.round(y)), 0) < 0.06
    joint |= np.abs(x - np.round(x)) < 0.06
    return np.where(joint[..., None], np.array([0.93, 0.92, 0.88]), tile + 0.015 * _noise(rng, 0.3)[..., None])


def _brick(rng: np.random.Generator) -> Array:
    """A wall of bricks, every second row shifted by half a brick."""
    y, x = _grid()
    row = np.floor(y * 16).astype(int)
    along = (x * 8 + 0.5 * (row % 2)) % 8
    tone = rng.uniform(0.1, 0.9, (16, 8))[row, np.floor(along).astype(int)]
    brick = _mix(tone + 0.12 * _noise(rng, 0.7), (0.45, 0.17, 0.11), (0.76, 0.38, 0.26))
    joint = (np.abs(y * 16 - np.round(y * 16)) < 0.09) | (np.abs(along - np.round(along)) < 0.045)
    return np.where(joint[..., None], np.array([0.80, 0.76, 0.70]), brick)


def _water(rng: np.random.Generator) -> Array:
    y, _ = _grid()
    waves = np.sin(2 * np.pi * (13 * y + 0.75 * _noise(rng, 1.7, (1.0, 0.6))))
    body = _mix(0.45 + 0.3 * waves, (0.02, 0.20, 0.42), (0.16, 0.52, 0.70))
    glint = np.clip((waves + 0.25 * _noise(rng, 0.8) - 1.0) * 2.2, 0, 1)[..., None]
    return body * (1 - glint) + glint * np.array([0.85, 0.95, 0.98])


_GROUNDS: dict[str, Callable[[np.random.Generator], Array]] = {
    "grass": _grass, "gravel": _gravel, "sand": _sand, "wood": _wood,
    "sky": _sky, "tiles": _tiles, "brick": _brick, "water": _water,
}  # fmt: skip


@cache
def _ground_tile(name: str, variant: int) -> Array:
    """Return a tile (TILE, TILE, 3) float32 in [0, 1]; the same in every world."""
    rng = np.random.default_rng([STUFF.index(name), variant])
    return np.clip(_GROUNDS[name](rng), 0, 1).astype(np.float32)


def ground(name: str, size_hw: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a random cut-out (h, w, 3) of the ground ``name`` (a word of ``classes.STUFF``), float32 in [0, 1]."""
    tile = _ground_tile(name, int(rng.integers(VARIANTS)))
    zoom = rng.uniform(0.8, 1.25)
    rows = ((np.arange(size_hw[0]) / zoom).astype(int) + rng.integers(TILE)) % TILE
    columns = ((np.arange(size_hw[1]) / zoom).astype(int) + rng.integers(TILE)) % TILE
    if rng.random() < 0.5:
        columns = columns[::-1]
    return tile[rows[:, None], columns[None]] * rng.uniform(0.88, 1.12, 3).astype(np.float32)


def _colour(name: str, rng: np.random.Generator) -> Array:
    return np.clip(np.array(PALETTE[name]) + rng.uniform(-0.06, 0.06, 3), 0, 1)


def _contrasting_colours(rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw two colours of clearly different brightness."""
    while True:
        first, second = (_colour(COLOURS[index], rng) for index in rng.choice(len(COLOURS), 2, replace=False))
        if abs(first.mean() - second.mean()) > 0.25:
            return first, second


def _rainbow(phase: Array) -> Array:
    """Return fully saturated hues (h, w, 3) for ``phase`` in turns."""
    offsets = np.array([0.0, 1 / 3, 2 / 3])
    return np.clip(np.abs(((phase[..., None] - offsets) % 1.0) * 6 - 3) - 1, 0, 1) * 0.88 + 0.07


def surface(attribute: str, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Paint a thing.

    Args:
        attribute: a word of ``classes.ATTRIBUTES``.
        x, y: coordinates (h, w) in units of the thing's radius.
        rng: draws the shade, the direction and the colours of patterns.

    Returns:
        Colours (h, w, 3) in [0, 1].
    """
    if attribute in PALETTE:
        return np.broadcast_to(_colour(attribute, rng), (*x.shape, 3))
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.42, 0.58)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    if attribute == "rainbow":
        return _rainbow(along * rng.uniform(0.5, 0.75) + rng.uniform())
    first, second = _contrasting_colours(rng)
    along, across = along / period, across / period
    if attribute == "striped":
        chosen = along % 1 < 0.5
    elif attribute == "checkered":
        chosen = (np.floor(along * 1.3) + np.floor(across * 1.3)) % 2 < 1
    else:
        chosen = np.hypot(along % 1 - 0.5, across % 1 - 0.5) < 0.3
    return np.where(chosen[..., None], first, second)
