"""Areas of panoptic segments that contradict their pixels: refused, or counted; quality is never above 100."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from maskclippp.evaluation.panoptic import PanopticEvaluator
from maskclippp.utils.errors import UserError

from .conftest import split_over_ranks

IDS = np.repeat([[5] * 4 + [9] * 4], 6, axis=0).astype(np.int32)  # 24 pixels of each


@pytest.fixture
def world(tmp_path):
    """Function that returns two records whose segments have an area, and perfect predictions."""

    def make(area: float | None) -> tuple[list[dict], list[dict]]:
        records, outputs = [], []
        for number in range(2):
            path = tmp_path / f"{number}.png"
            Image.fromarray(np.stack([IDS, IDS * 0, IDS * 0], -1).astype(np.uint8)).save(path)
            told = {} if area is None else {"area": area}
            infos = [{"id": 5, "category_id": 0, **told}, {"id": 9, "category_id": 1, **told}]
            records.append({"file_name": f"{number}.jpg", "pan_seg_file_name": str(path), "segments_info": infos})
            found = [{"id": 5, "category_id": 0}, {"id": 9, "category_id": 1}]
            outputs.append({"panoptic_seg": (torch.from_numpy(IDS), found)})
        return records, outputs

    return make


def scores(records, outputs, ranks: int = 1, **options) -> dict:
    return split_over_ranks(lambda: PanopticEvaluator(["sky", "dog"], [1], **options), records, outputs, ranks).score()


@pytest.mark.parametrize(
    ("area", "quality"), [(None, 100), (24, 100), (0, 100), (1, 100), (23, 100), (12.5, 100), (48, 0), (30, 80)]
)
def test_quality_counts_at_least_the_pixels(world, caplog, area, quality) -> None:
    """As in published files; a larger area counts as it is, without a word."""
    with caplog.at_level(logging.WARNING):
        found = scores(*world(area), ranks=2)["panoptic_seg"]
    assert found["PQ"] == pytest.approx(quality)
    warned = [record.getMessage() for record in caplog.records if "'area'" in record.getMessage()]
    assert len(warned) == (area is not None and area < 24)
    if warned:
        assert "'area' of 4 of 4 true segments is smaller than their pixels" in warned[0]
        assert warned[0].endswith(f"0.png, segment 5: area {area:g}, 24 pixels")


@pytest.mark.parametrize("area", [0, 23])
def test_impossible_areas_of_own_data_are_refused(world, area) -> None:
    with pytest.raises(UserError, match=rf"0\.png: 'area' of segment 5 is {area}, but 24 of its pixels can be seen"):
        scores(*world(area), strict_areas=True)


@pytest.mark.parametrize(("area", "quality", "told"), [(24, 100, 0), (26, 100 * 24 / 26, 0), (30, 80, 4), (1e9, 0, 4)])
def test_implausible_areas_of_own_data_are_told(world, caplog, area, quality, told) -> None:
    with caplog.at_level(logging.WARNING):
        found = scores(*world(area), strict_areas=True)["panoptic_seg"]
    assert found["PQ"] == pytest.approx(quality)
    assert ("'area' of 4 of 4 true segments is more than 1.1 times their pixels" in caplog.text) == bool(told)


def test_segments_without_pixels_and_pixels_without_segments_are_told(world, caplog) -> None:
    records, outputs = world(24)
    records[0]["segments_info"][1] = {"id": 77, "category_id": 1, "area": 24}
    found = scores(records, outputs, ranks=2, strict_areas=True)["panoptic_seg"]
    assert found["PQ"] == pytest.approx((100 + 50) / 2)
    assert "1 of 4 true segments have no pixel in their PNG and count as missed, as" in caplog.text
    assert "0.png, segment 77" in caplog.text and "24 pixels of the PNGs belong to segments" in caplog.text
    assert "more than 1.1 times" not in caplog.text
    caplog.clear()
    scores(*world(24))
    assert caplog.text == ""
