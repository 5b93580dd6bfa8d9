"""Scenes: what is drawn is what the segments say, and chance comes from the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from maskclippp.toy.classes import ATTRIBUTES, CLASS_OF_WORDS, SHAPES, STUFF
from maskclippp.toy.scene import MIN_AREA, Style, draw_scene
from maskclippp.toy.shapes import signed_distance
from maskclippp.toy.textures import PALETTE, ground, surface
from maskclippp.toy.writer import draw_split_scene

SINGLE = Style(((64, 64),), thing_count=(1, 1), radius=(20, 24), ground_count=(1, 1))


@pytest.mark.parametrize("shape", SHAPES)
def test_silhouettes_are_inside_the_unit_disc_and_apart(shape):
    y, x = np.mgrid[-1.5:1.5:151j, -1.5:1.5:151j]
    inside = signed_distance(shape, x, y) < 0
    assert 0.8 < inside.sum() * (3 / 150) ** 2 < 2.7
    assert np.hypot(x, y)[inside].max() < 1.25
    others = [signed_distance(other, x, y) < 0 for other in SHAPES if other != shape]
    assert max((inside & o).sum() / (inside | o).sum() for o in others) < 0.85


@pytest.mark.parametrize("name", STUFF)
def test_grounds_are_textured_and_in_range(name):
    patch = ground(name, (40, 56), np.random.default_rng(0))
    assert patch.shape == (40, 56, 3) and patch.min() >= 0 and patch.max() <= 1.15
    assert patch.std() > 0.02


def test_solid_things_have_their_colour_and_patterns_have_several():
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    for attribute in ATTRIBUTES:
        colours = surface(attribute, x, y, np.random.default_rng(3))
        assert colours.shape == (40, 40, 3)
        if attribute in PALETTE:
            assert np.abs(colours - np.array(PALETTE[attribute])).max() <= 0.0601
        else:
            assert np.ptp(colours.mean(2)) > 0.1


def test_scene_has_the_asked_thing_and_ground():
    star = CLASS_OF_WORDS["purple", "star"]
    scene = draw_scene(np.random.default_rng(5), SINGLE, first_thing=star, first_ground="brick")
    assert scene.image.shape == (64, 64, 3) and scene.image.dtype == np.uint8
    assert [entry.names[0] for entry in scene.classes] == ["brick", "purple star"]
    inside = scene.image[scene.segment_map == 1].mean(0)
    assert inside[2] > inside[1] and inside[0] > inside[1]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_split_scene_depends_on_seed_split_and_index_only(split):
    first, again = draw_split_scene(split, 0, 7), draw_split_scene(split, 0, 7)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.segment_map, again.segment_map)
    for other in (draw_split_scene(split, 1, 7), draw_split_scene(split, 0, 8)):
        assert other.image.shape != first.image.shape or not np.array_equal(other.image, first.image)


def test_splits_are_apart():
    images = [draw_split_scene(split, 0, 3).image for split in ("train", "val", "test")]
    assert len({image.tobytes() for image in images}) == 3


def test_every_segment_is_visible_and_every_class_occurs():
    ids = set()
    for index in range(88):
        scene = draw_split_scene("val", 0, index)
        areas = np.bincount(scene.segment_map.ravel(), minlength=len(scene.class_ids))
        assert len(areas) == len(scene.class_ids) and areas.min() > MIN_AREA
        ids |= set(scene.class_ids)
    assert ids == set(range(96))
