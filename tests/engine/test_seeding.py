"""Random numbers by purpose, and the seed that a run remembers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from maskclippp.engine.seeding import Stream, draw_index, permutation, seed_everything, settle_seed
from maskclippp.utils.errors import UserError


def drawn(*arguments) -> tuple:
    seed_everything(*arguments)
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_numbers_depend_on_seed_purpose_and_index():
    first = drawn(1, Stream.STEP, 5, 0)
    assert drawn(1, Stream.STEP, 5, 0) == first
    others = [drawn(2, Stream.STEP, 5, 0), drawn(1, Stream.AUGMENTATION, 5, 0), drawn(1, Stream.STEP, 5, 1)]
    for source in range(3):
        assert len({numbers[source] for numbers in [first, *others]}) == 4


def test_order_and_substitutes_leave_the_global_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    order = permutation(9, seed=1, epoch=2)
    assert sorted(order.tolist()) == list(range(9)) and torch.equal(order, permutation(9, seed=1, epoch=2))
    assert {draw_index(5, 1, Stream.SUBSTITUTE, position) for position in range(100)} == set(range(5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_negative_seed_is_chosen_once(tmp_path):
    chosen = settle_seed(-1, tmp_path, resume=False)
    assert chosen >= 0
    assert settle_seed(-1, tmp_path, resume=True) == chosen
    assert settle_seed(-1, tmp_path, resume=False) != chosen
    assert settle_seed(7, tmp_path, resume=True) == 7
    assert settle_seed(-1, tmp_path, resume=True) == 7


def test_a_broken_seed_file(tmp_path):
    (tmp_path / "seed.txt").write_text("seven")
    with pytest.raises(UserError, match="expected the run's seed, found 'seven'"):
        settle_seed(-1, tmp_path, resume=True)
