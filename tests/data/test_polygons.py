"""Polygons: what they cover, and that no coordinate ends the process or takes its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import transforms as T

from maskclippp.data.mappers.instance import InstanceMapper
from maskclippp.data.polygons import polygon_rle, usable_polygons
from maskclippp.data.run_length import decode_rle
from maskclippp.data.segmentations import checked_segmentation, segmentation_mask, segmentation_measures
from maskclippp.utils.errors import UserError

from .conftest import write_picture

SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]
SIZE = (12, 16)


def test_masks_and_measures() -> None:
    expected = np.zeros(SIZE, bool)
    expected[3:9, 2:8] = True
    for shape in ([SQUARE], [SQUARE, [2, 3, 4, 3, 4, 9]], polygon_rle([SQUARE], SIZE, "x")):
        assert (segmentation_mask(shape, SIZE, "x") == expected).all()
        assert segmentation_measures(shape, SIZE, "x") == (36.0, [2, 3, 6, 6])
    assert (decode_rle(polygon_rle([[-16, -16, 32, -16, 32, 32, -16, 32]], SIZE, "x"), "x")).all()
    assert not segmentation_mask([], SIZE, "x").any()


def test_what_cannot_be_drawn_is_left_out() -> None:
    polygons = [[], [1, 2, 3, 4], SQUARE, [1, 2, 3, 4, 5, 6, 7]]
    assert usable_polygons(polygons, SIZE, "x") == [SQUARE]
    assert checked_segmentation(polygons, SIZE, "x") == ([SQUARE], 3)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e8])
def test_enlarged_polygons_are_checked_before_they_are_drawn(tmp_path: Path, factor: float) -> None:
    """After the augmentations of a training mapper."""
    write_picture(tmp_path / "a.png")
    record = {"file_name": str(tmp_path / "a.png"), "annotations": [{"category_id": 0, "segmentation": [SQUARE]}]}
    enlarge = T.NoOpTransform()
    enlarge.apply_coords = lambda points: points * factor
    with pytest.raises(UserError, match=r"a\.png: a coordinate is not finite or too large"):
        InstanceMapper(augmentations=[enlarge])(record)
    enlarge.apply_coords = lambda points: points * 100_000
    with pytest.raises(UserError, match=r"a\.png: an outline of more than 2000000 pixels is not drawn"):
        InstanceMapper(augmentations=[enlarge])(record)


PROGRAM = """
import json, resource, sys
from pathlib import Path
from maskclippp.data.datasets import get_dataset
from maskclippp.data.mappers.instance import InstanceMapper
from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.evaluation.instance import InstanceEvaluator
from maskclippp.utils.errors import UserError

folder = Path(sys.argv[1])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 300_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
content = json.loads((folder / "i.json").read_text())
numbers = ["null", "NaN", "Infinity", "-Infinity", "1e8", "-1e8", "1e300", "9" * 400, "'9'", "[9]", "{}", "true"]
numbers = [number.replace("'", '"') for number in numbers]
shapes = [f"[[2, 3, 8, 3, {number}, 9]]" for number in numbers] + ["[[0, 0, 16, 12%s]]" % (", 0, 0, 16, 12" * 50_000)]
counts = ["[191, 2000000000]", "[-1, 193]", "[1e9]", '"oooooooo"', '"\\\\u4e2d"', '"' + "o" * 100_000 + '"', "null"]
shapes += ['{"size": [12, 16], "counts": %s}' % each for each in counts]
shapes += ['{"size": %s, "counts": [192]}' % each for each in ("[1e9, 1e9]", "[-12, -16]", "[100000, 100000]", "null")]
tries = [{"segmentation": shape} for shape in shapes]
tries += [{"bbox": f"[2, 3, {number}, 6]"} for number in numbers] + [{"area": number} for number in numbers[1:]]
done = 0
for change in tries:
    text = json.dumps(content)
    for key, value in change.items():
        text = json.dumps(content | {"annotations": [content["annotations"][0] | {key: "HERE"}]})
        text = text.replace('"HERE"', value)
    (folder / "i.json").write_text(text)
    record = {"file_name": str(folder / "images/a.png"), "height": 12, "width": 16}
    doors = [
        lambda: get_dataset(str(folder / "m.yaml")),
        lambda: InstanceEvaluator(folder / "i.json", {1: 0}, ["dog"]),
    ]
    if "segmentation" in change:
        doors += [
            lambda: MaskTable.read(folder / "i.json").masks(record),
            lambda: read_masks(folder / "i.json", size_hw=(12, 16)),
            lambda: InstanceMapper(augmentations=[])(record | {"annotations": json.loads(text)["annotations"]}),
        ]
    for door in doors:
        try:
            door()
        except UserError as error:
            done += "\\n" not in str(error)
        else:
            if change != {"area": "1e8"}:
                print("accepted", change, door)
print("refused", done)
"""


def test_hostile_numbers_under_a_memory_limit(tmp_path: Path) -> None:
    """In a process that may take 300 MB more than its imports: loader, mapper, evaluator and mask files refuse them."""
    write_picture(tmp_path / "images/a.png")
    annotation = {"image_id": 1, "category_id": 1, "segmentation": [SQUARE], "bbox": [2, 3, 6, 6], "area": 36}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "i.json").write_text(json.dumps(content))
    (tmp_path / "m.yaml").write_text("images: images\ninstances: i.json\n")
    call = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "refused 166\n"), done.stderr[-2000:]
