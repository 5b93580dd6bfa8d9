"""Which images count as worst, and that pictures show what they should."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from maskclippp.evaluation.pictures import draw_confusion, draw_gallery
from maskclippp.evaluation.worst import WorstCases, read_classes

from .conftest import through_file

NAMES = ["sky,heaven", "grass", "cow"]


def offered(cases: WorstCases, scores: dict[str, float]) -> WorstCases:
    for name, score in scores.items():
        cases.offer(score, name, np.zeros((2, 3), int), np.full((2, 3), 300))
    return cases


@pytest.mark.parametrize("seed", range(4))
def test_the_worst_do_not_depend_on_order_or_process(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = {f"{index}.jpg": float(rng.integers(0, 5)) / 5 for index in range(20)} | {"none.jpg": float("nan")}
    expected = [name for _, name in sorted((score, name) for name, score in scores.items() if score == score)][:4]
    names = list(scores)
    rng.shuffle(names)
    whole = offered(WorstCases(4), {name: scores[name] for name in names})
    halves = WorstCases(4)
    for part in (names[:9], names[9:]):
        halves.add_state(through_file(offered(WorstCases(4), {name: scores[name] for name in part}).state_dict()))
    assert [case.file_name for case in whole] == [case.file_name for case in halves] == expected
    assert (read_classes(next(iter(whole)).prediction) == 300).all()


def test_no_pictures_no_cases() -> None:
    assert not WorstCases(0) and WorstCases(1)


def test_gallery_and_confusion(tmp_path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (30, 20), (10, 200, 30)).save(path)
    cases = WorstCases(2)
    truth = np.zeros((20, 30), int)
    truth[:, 20:] = 3  # unlabelled
    cases.offer(0.0, str(path), truth, np.ones((20, 30), int))
    draw_gallery(tmp_path / "gallery.png", cases, NAMES, "mIoU")
    drawn = np.asarray(Image.open(tmp_path / "gallery.png").convert("RGB"))
    assert (drawn == (10, 200, 30)).all(axis=-1).sum() > 1000
    draw_gallery(tmp_path / "none.png", [], NAMES, "mIoU")
    assert not (tmp_path / "none.png").exists()
    draw_confusion(tmp_path / "small.png", np.arange(16).reshape(4, 4), NAMES)
    many = [f"class {index}" for index in range(300)]
    draw_confusion(tmp_path / "large.png", np.eye(301, dtype=int), many)
    small, large = (Image.open(tmp_path / name).size for name in ("small.png", "large.png"))
    assert small[0] < large[0] < 2000
