"""Draws one scene: overlapping things on textured ground, with shading, shadows and noise, and its segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .classes import CLASS_OF_WORDS, CLASSES, STUFF, THINGS, ToyClass
from .shapes import signed_distance
from .textures import ground, surface

Array = np.ndarray
MIN_VISIBLE = 0.45
MIN_AREA = 60
MIN_GROUND = 0.04
OUTLINE = 1.3


@dataclass(frozen=True)
class Scene:
    """A picture and its segments.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        segment_map: (H, W) int64, index into ``class_ids``.
        class_ids: class id of each segment; stuff first, then things from back to front. Every segment has pixels.
    """

    image: Array
    segment_map: Array
    class_ids: tuple[int, ...]

    @property
    def classes(self) -> list[ToyClass]:
        """Return the class of each segment."""
        return [CLASSES[index] for index in self.class_ids]


@dataclass(frozen=True)
class Style:
    """What a kind of scene looks like.

    Attributes:
        sizes_hw: picture sizes to choose from.
        thing_count: least and greatest number of things that are tried.
        radius: least and greatest radius of a thing, pixels.
        ground_count: least and greatest number of grounds.
        centred: how far the first thing may be from the middle, as a share of the free space (None: anywhere).
        seen_share: share of things and grounds that are drawn from the seen classes (None: all classes alike).
    """

    sizes_hw: tuple[tuple[int, int], ...] = ((128, 128), (112, 144), (144, 112), (128, 160))
    thing_count: tuple[int, int] = (3, 6)
    radius: tuple[float, float] = (15.0, 31.0)
    ground_count: tuple[int, int] = (1, 3)
    centred: float | None = None
    seen_share: float | None = None


class _Canvas:
    """A scene while it is drawn: colours (H, W, 3) float, segment map, and the area of each thing when it was whole."""

    def __init__(self, size_hw: tuple[int, int]):
        self.size_hw = size_hw
        self.image = np.zeros((*size_hw, 3), np.float32)
        self.segment_map = np.zeros(size_hw, np.int64)
        self.class_ids: list[int] = []
        self.full_areas: list[float] = []

    def paint_grounds(self, names: list[str], rng: np.random.Generator) -> None:
        """Split the picture among grounds by wavy borders; slivers go to the largest ground."""
        height, width = self.size_hw
        y, x = np.mgrid[:height, :width] / max(self.size_hw)
        regions = np.zeros(self.size_hw, np.int64)
        for index in range(1, len(names)):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
            wave = 0.04 * np.sin(across * rng.uniform(6, 14) + phase)
            middle = np.cos(angle) * 0.5 * width / max(self.size_hw) + np.sin(angle) * 0.5 * height / max(self.size_hw)
            regions[along + wave > middle + rng.uniform(-0.05, 0.25)] = index
        areas = np.bincount(regions.ravel())
        for index in np.flatnonzero(areas):
            if areas[index] < MIN_GROUND * regions.size:
                regions[regions == index] = areas.argmax()
        for index in np.unique(regions):
            inside = regions == index
            self.image[inside] = ground(names[index], self.size_hw, rng)[inside]
            self.segment_map[inside] = len(self.class_ids)
            self.class_ids.append(CLASS_OF_WORDS[names[index],].id)
            self.full_areas.append(0.0)

    def paint_thing(self, thing: ToyClass, centre_yx: Array, radius: float, rng: np.random.Generator) -> bool:
        """Draw a thing in front, unless too little of it or of those behind it would be visible."""
        top, left = np.maximum(np.floor(centre_yx - 1.35 * radius - 4), 0).astype(int)
        bottom, right = np.minimum(np.ceil(centre_yx + 1.35 * radius + 4).astype(int), self.size_hw)
        rows, columns = np.mgrid[top:bottom, left:right]
        angle = rng.uniform(-0.35, 0.35)
        y, x = (rows - centre_yx[0]) / radius, (columns - centre_yx[1]) / radius
        turned_x, turned_y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        distance = signed_distance(thing.words[1], turned_x, turned_y) * radius
        window = slice(top, bottom), slice(left, right)
        inside = distance < 0
        if not self._may_cover(window, inside):
            return False
        shadow = np.clip(0.5 - _shifted(distance, 3) / 8, 0, 1)[..., None]
        colours = surface(thing.words[0], turned_x, turned_y, rng) * (0.98 - 0.14 * (x + y) / 2)[..., None]
        rim = np.clip((distance + OUTLINE) / 1.0, 0, 1)[..., None]
        colours = colours * (1 - 0.62 * rim)
        alpha = np.clip(0.5 - distance, 0, 1)[..., None]
        patch = self.image[window] * (1 - 0.42 * shadow)
        self.image[window] = patch * (1 - alpha) + colours * alpha
        self.segment_map[window][inside] = len(self.class_ids)
        self.class_ids.append(thing.id)
        self.full_areas.append(float(inside.sum()))
        return True

    def _may_cover(self, window: tuple[slice, slice], inside: Array) -> bool:
        """Tell whether all things stay visible enough when the pixels ``inside`` of ``window`` are covered."""
        if inside.sum() < MIN_AREA:
            return False
        visible = np.bincount(self.segment_map.ravel(), minlength=len(self.class_ids))
        covered = np.bincount(self.segment_map[window][inside], minlength=len(self.class_ids))
        left = visible - covered
        return bool((left >= MIN_VISIBLE * np.array(self.full_areas)).all() and (left > MIN_AREA).all())


def _shifted(distance: Array, pixels: int) -> Array:
    """Move a distance field down and to the right (what comes in is far outside)."""
    moved = np.full_like(distance, 1e3)
    moved[pixels:, pixels:] = distance[:-pixels, :-pixels]
    return moved


def _draw_words(rng: np.random.Generator, pool: list[ToyClass], seen_share: float | None) -> ToyClass:
    if seen_share is not None:
        wanted = bool(rng.random() < seen_share)
        pool = [entry for entry in pool if entry.is_seen == wanted]
    return pool[int(rng.integers(len(pool)))]


def _place(rng: np.random.Generator, size_hw: tuple[int, int], radius: float, centred: float | None) -> Array:
    """Draw a centre (y, x) such that nearly the whole thing is in the picture."""
    size = np.array(size_hw, float)
    free = np.maximum(size / 2 - 0.9 * radius, 0)
    return size / 2 + rng.uniform(-1, 1, 2) * free * (1.0 if centred is None else centred)


def _finish(image: Array, rng: np.random.Generator) -> Array:
    """Light the scene from one side, add sensor noise, round to uint8."""
    height, width = image.shape[:2]
    slope_y, slope_x = rng.uniform(-0.12, 0.12, 2)
    light = (
        rng.uniform(0.92, 1.08)
        + slope_y * np.linspace(-1, 1, height)[:, None]
        + slope_x * np.linspace(-1, 1, width)[None]
    )
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.008, 0.03)
    return np.clip((image * light[..., None] + noise) * 255 + 0.5, 0, 255).astype(np.uint8)


def draw_scene(
    rng: np.random.Generator, style: Style, *, first_thing: ToyClass | None = None, first_ground: str | None = None
) -> Scene:
    """Draw a scene.

    Args:
        rng: the only source of chance.
        style: sizes and numbers.
        first_thing: class of the first thing, if it is not to be drawn by lot.
        first_ground: word of the first ground, likewise.
    """
    size_hw = style.sizes_hw[int(rng.integers(len(style.sizes_hw)))]
    canvas = _Canvas(size_hw)
    stuff = [CLASS_OF_WORDS[name,] for name in STUFF]
    count = int(rng.integers(style.ground_count[0], style.ground_count[1] + 1))
    names = [_draw_words(rng, stuff, style.seen_share).words[0] for _ in range(count)]
    if first_ground is not None:
        names[0] = first_ground
    canvas.paint_grounds(list(dict.fromkeys(names)), rng)
    for index in range(int(rng.integers(style.thing_count[0], style.thing_count[1] + 1))):
        thing = first_thing if index == 0 and first_thing is not None else _draw_words(rng, THINGS, style.seen_share)
        for _ in range(8):
            radius = rng.uniform(*style.radius)
            centre_yx = _place(rng, size_hw, radius, style.centred if index == 0 else None)
            if canvas.paint_thing(thing, centre_yx, radius, rng):
                break
    return Scene(_finish(canvas.image, rng), canvas.segment_map, tuple(canvas.class_ids))
