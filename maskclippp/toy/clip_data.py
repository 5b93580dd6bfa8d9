"""Pictures for the pre-training of the tiny CLIP: a pool drawn once in parallel, and batches with captions from it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from tqdm import tqdm

from .captions import Caption, write_caption
from .classes import ATTRIBUTES, CLASSES, SHAPES, STUFF, THINGS
from .scene import Scene, Style, draw_scene

PICTURE_SIZE = 48
MAX_THINGS, MAX_GROUNDS = 4, 2
_SMALL = ((PICTURE_SIZE, PICTURE_SIZE),)
STYLES = {
    "centred": Style(_SMALL, thing_count=(1, 1), radius=(18, 23), ground_count=(1, 1), centred=0.5),
    "single": Style(_SMALL, thing_count=(1, 1), radius=(12, 23), ground_count=(1, 1)),
    "ground": Style(_SMALL, thing_count=(0, 0), ground_count=(1, 1)),
    "crop": Style(((128, 128),), thing_count=(3, 5), ground_count=(1, 2)),
    "scene": Style(((96, 96),), thing_count=(2, 4), radius=(14, 28), ground_count=(1, 2)),
}
KINDS = tuple(STYLES)
_CHUNK = 500


@dataclass(frozen=True)
class Pictures:
    """N pictures and what is on them.

    Attributes:
        images: (N, 48, 48, 3) uint8.
        things: (N, MAX_THINGS) int16 class ids, largest first, -1 where there is none.
        grounds: (N, MAX_GROUNDS) int16 class ids of stuff, likewise.
        kinds: (N,) int8, index into ``KINDS``.
    """

    images: np.ndarray
    things: np.ndarray
    grounds: np.ndarray
    kinds: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def _fill(ids: list[int], length: int) -> np.ndarray:
    return np.array((ids + [-1] * length)[:length], np.int16)


def _content(scene: Scene, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """List what a window of ``scene`` shows: things of which most is in it, grounds that fill a good part of it."""
    whole = np.bincount(scene.segment_map.ravel(), minlength=len(scene.class_ids))
    inside = np.bincount(scene.segment_map[window].ravel(), minlength=len(scene.class_ids))
    share = inside / max(inside.sum(), 1)
    order = [index for index in np.argsort(-inside, kind="stable")]
    entries = scene.classes
    things = [entries[i].id for i in order if entries[i].is_thing and share[i] > 0.03 and inside[i] > 0.5 * whole[i]]
    grounds = [entries[i].id for i in order if not entries[i].is_thing and share[i] > 0.1]
    return _fill(things, MAX_THINGS), _fill(grounds, MAX_GROUNDS)


def _shrink(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] == (PICTURE_SIZE, PICTURE_SIZE):
        return image
    return np.asarray(Image.fromarray(image).resize((PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BILINEAR))


def _window_around(scene: Scene, segment: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return a square window that holds a segment with some of its surroundings."""
    rows, columns = np.nonzero(scene.segment_map == segment)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    height, width = scene.segment_map.shape
    side = int(min(max(extent * rng.uniform(1.1, 1.7), 28), height, width))
    corner = []
    for values, limit in ((rows, height), (columns, width)):
        middle = (values.min() + values.max()) / 2 + rng.uniform(-0.1, 0.1) * side
        corner.append(int(np.clip(middle - side / 2, 0, limit - side)))
    return slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side)


def _draw(kind: str, seed: int, index: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw scene ``index`` of a kind and cut its pictures out: (image, things, grounds) each; several for crops."""
    rng = np.random.default_rng([seed, KINDS.index(kind), index])
    first_thing = THINGS[index % len(THINGS)] if STYLES[kind].thing_count[1] else None
    first_ground = STUFF[int(rng.integers(len(STUFF)))] if first_thing else STUFF[index % len(STUFF)]
    scene = draw_scene(rng, STYLES[kind], first_thing=first_thing, first_ground=first_ground)
    windows = [(slice(None), slice(None))]
    if kind == "crop":
        windows = [_window_around(scene, i, rng) for i, entry in enumerate(scene.classes) if entry.is_thing]
    drawn = [(_shrink(scene.image[window]), *_content(scene, window)) for window in windows]
    return [picture for picture in drawn if picture[1][0] >= 0 or picture[2][0] >= 0]


def _draw_chunk(task: tuple[str, int, int], seed: int) -> Pictures:
    kind, start, stop = task
    drawn = [picture for index in range(start, stop) for picture in _draw(kind, seed, index)]
    images, things, grounds = (np.stack(column) for column in zip(*drawn, strict=True))
    return Pictures(images, things, grounds, np.full(len(images), KINDS.index(kind), np.int8))


def draw_pictures(
    scene_counts: Mapping[str, int], *, seed: int, workers: int = 1, show_progress: bool = True
) -> Pictures:
    """Draw a pool.

    Args:
        scene_counts: number of scenes of each kind (a "crop" scene yields several pictures).
        seed: of the whole pool; picture i of a kind depends on the seed and i only.
        workers: processes that draw.
        show_progress: show a bar.
    """
    tasks = [
        (kind, start, min(start + _CHUNK, count))
        for kind, count in scene_counts.items()
        for start in range(0, count, _CHUNK)
    ]
    work = partial(_draw_chunk, seed=seed)
    bar = partial(tqdm, total=len(tasks), desc="drawing pictures", unit="chunk", disable=not show_progress)
    if workers > 1:
        with multiprocessing.Pool(workers) as pool:
            parts = list(bar(pool.imap(work, tasks)))
    else:
        parts = list(bar(map(work, tasks)))
    names = ("images", "things", "grounds", "kinds")
    return Pictures(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def captions_for(pictures: Pictures, chosen: np.ndarray, rng: np.random.Generator) -> list[Caption]:
    """Write one caption for each chosen picture."""
    named = []
    for things, grounds in zip(pictures.things[chosen], pictures.grounds[chosen], strict=True):
        named.append(
            write_caption([CLASSES[i] for i in things if i >= 0], [CLASSES[i] for i in grounds if i >= 0], rng)
        )
    return named


_ATTRIBUTE_OF = np.array([ATTRIBUTES.index(c.words[0]) if c.is_thing else -1 for c in CLASSES] + [-1])
_SHAPE_OF = np.array([SHAPES.index(c.words[1]) if c.is_thing else -1 for c in CLASSES] + [-1])
_STUFF_OF = np.array([-1 if c.is_thing else STUFF.index(c.words[0]) for c in CLASSES] + [-1])


def word_targets(pictures: Pictures, chosen: np.ndarray) -> list[np.ndarray]:
    """Return for attributes, shapes and stuff which words are true of each chosen picture: (B, words) bool each."""
    tables = (
        (_ATTRIBUTE_OF, pictures.things, ATTRIBUTES),
        (_SHAPE_OF, pictures.things, SHAPES),
        (_STUFF_OF, pictures.grounds, STUFF),
    )
    targets = []
    for table, ids, words in tables:
        index = table[ids[chosen]]
        present = np.zeros((len(chosen), len(words) + 1), bool)
        np.put_along_axis(present, np.where(index < 0, len(words), index), True, axis=1)
        targets.append(present[:, :-1])
    return targets


def caption_matches(pictures: Pictures, chosen: np.ndarray, captions: list[Caption]) -> np.ndarray:
    """Tell which captions match which pictures: those that are true of it.

    A caption that names only a ground does not match a picture of one thing, which is never called so.

    Returns:
        (B, B) bool: picture i, caption j.
    """
    batch = len(chosen)
    things = pictures.things[chosen]
    present = np.zeros((batch, len(ATTRIBUTES) + 1, len(SHAPES) + 1), bool)
    for column in things.T:
        rows = np.flatnonzero(column >= 0)
        attribute, shape = _ATTRIBUTE_OF[column[rows]], _SHAPE_OF[column[rows]]
        present[rows, attribute, shape] = present[rows, -1, shape] = present[rows, attribute, -1] = True
    present[:, -1, -1] = True
    ground = np.concatenate([word_targets(pictures, chosen)[2], np.ones((batch, 1), bool)], 1)
    true = ground[:, [len(STUFF) if c.ground is None else STUFF.index(c.ground) for c in captions]]
    names_ground_only = np.array([not caption.things for caption in captions])
    true &= ~(names_ground_only & ((things >= 0).sum(1) == 1)[:, None])
    for slot in range(max((len(c.things) for c in captions), default=0)):
        claims = [c.things[slot] if slot < len(c.things) else (None, None) for c in captions]
        attribute = [len(ATTRIBUTES) if a is None else ATTRIBUTES.index(a) for a, _ in claims]
        shape = [len(SHAPES) if s is None else SHAPES.index(s) for _, s in claims]
        true = true & present[:, attribute, shape]
    return true
