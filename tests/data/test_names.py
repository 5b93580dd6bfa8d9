"""Names of pictures: unique within a dataset, found again in the files of others, fit for files that are written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskclippp.data.mask_files import MaskTable
from maskclippp.data.names import NameIndex, dataset_folders, output_name, own_names, set_names
from maskclippp.data.run_length import encode_rle
from maskclippp.offline_masks import write_masks
from maskclippp.utils.errors import UserError


def records(*names: str, root: str = "/data/images") -> list[dict]:
    """Records of a dataset of 2 x 3 pictures."""
    found = [{"file_name": f"{root}/{name}", "height": 2, "width": 3} for name in names]
    set_names(found, root, "test")
    return found


@pytest.mark.parametrize(
    ("pictures", "outputs"),
    [
        (("a.jpg", "seq/b.jpg"), ["a", "seq/b"]),
        (("seq1/1.jpg", "seq2/1.jpg"), ["seq1/1", "seq2/1"]),
        (("1.jpg", "1.png", "2.jpg"), ["1.jpg", "1.png", "2"]),
        (("1.jpg", "1.png", "1.jpg.png"), ["1.jpg", "1.png", "1.jpg.png"]),
        (("x/1.jpg", "x/1.png", "1.jpg"), ["x/1.jpg", "x/1.png", "1"]),
    ],
)
def test_files_of_pictures_never_share_a_name(pictures, outputs) -> None:
    assert [output_name(record) for record in records(*pictures)] == outputs


def test_short_names_fit_one_picture_only() -> None:
    first, second, third = records("a/x/1.jpg", "b/x/1.jpg", "b/x/2.jpg")
    assert own_names(first) == ["a/x/1.jpg", "a/x/1"] and own_names(second) == ["b/x/1.jpg", "b/x/1"]
    assert own_names(third) == ["b/x/2.jpg", "b/x/2", "x/2", "2"]
    assert own_names({"file_name": "data/val/a.jpg"}) == ["a.jpg", "data/val/a", "val/a", "a"]


@pytest.mark.parametrize("name", ["../other/a.jpg", "/etc/a.jpg", "x/../../a.jpg"])
def test_pictures_outside_of_their_folder(name) -> None:
    path = name if name.startswith("/") else f"/data/images/{name}"
    with pytest.raises(UserError, match="is outside of the folder of images /data/images/"):
        set_names([{"file_name": path}], "/data/images", "test")


OLD = ["old/images/seq/1.jpg", "old/images/1.jpg"]


@pytest.mark.parametrize(
    ("theirs", "pictures", "found"),
    [
        (["seq1/1.jpg", "seq2/1.jpg"], ["seq2/1.jpg", "seq1/1.jpg"], ["seq2/1.jpg", "seq1/1.jpg"]),
        (["1.jpg"], ["seq1/1.jpg", "seq2/1.jpg"], [None, None]),
        (["1.jpg"], ["seq1/1.jpg", "2.jpg"], ["1.jpg", None]),
        (["seq1/1.jpg"], ["seq2/1.jpg"], [None]),
        (OLD, ["seq/1.jpg", "1.jpg"], OLD),
        (["1.jpg", "seq/1.jpg"], ["seq/1.jpg", "1.jpg"], ["seq/1.jpg", "1.jpg"]),
        (["1.json", "seq/1.json"], ["seq/1.jpg", "1.jpg"], ["seq/1.json", "1.json"]),
        (["seq/1.jpg"], ["1.jpg", "seq/1.jpg"], [None, "seq/1.jpg"]),
        (["old/seq/1.json"], ["1.jpg", "seq/1.jpg"], [None, "old/seq/1.json"]),
        (["1.png"], ["1.jpg"], ["1.png"]),
        (["1.jpg"], ["1.jpg", "1.png"], ["1.jpg", None]),
        (["train/1.jpg", "images/1.jpg"], ["1.jpg"], ["images/1.jpg"]),
    ],
)
def test_names_of_others(theirs, pictures, found) -> None:
    index = NameIndex(theirs, "masks.json")
    assert [index.find(record) for record in records(*pictures)] == found


def test_names_of_others_that_fit_equally_well() -> None:
    with pytest.raises(UserError, match=r"images/1\.jpg: m\.json has several images of this name; give their folders"):
        NameIndex(["val/1.jpg", "train/1.jpg"], "m.json").find(records("1.jpg")[0])


def test_masks_of_equal_stems(tmp_path) -> None:
    """By file name with and without folders, and by an image id that is the name."""
    masks = np.zeros((3, 2, 3), bool)
    masks[0, 0], masks[1, 1], masks[2, :, 0] = True, True, True
    runs = encode_rle(masks)
    first, second = records("seq1/0001.jpg", "seq2/0001.jpg")
    for key in ("file_name", "image_id"):
        names = ["seq1/0001.jpg", "seq2/0001.jpg", "0001.jpg"]
        entries = [{key: name, "segmentation": run} for name, run in zip(names, runs, strict=True)]
        table = read_table(tmp_path / "m.json", entries)
        assert (table.masks(first) == masks[:1]).all() and (table.masks(second) == masks[1:2]).all()
    table = read_table(tmp_path / "m.json", [{"image_id": 1, "segmentation": runs[0]}])
    assert len(table.masks(first)) == 0 and len(table.masks(records("0001.jpg")[0])) == 1


def read_table(path: Path, entries: list[dict]) -> MaskTable:
    path.write_text(json.dumps(entries))
    return MaskTable.read(path)


def test_masks_of_folders_are_written_below_folders(tmp_path) -> None:
    for number, name in enumerate(["seq1/1.jpg", "seq2/1.jpg", "2.jpg", "2.png", ".hidden/3.jpg"]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8 + number, 3), 50 * number, np.uint8)).save(path)
    assert write_masks(tmp_path / "images", tmp_path / "images/masks", workers=1) == 4
    found = sorted(path.relative_to(tmp_path / "images/masks") for path in (tmp_path / "images/masks").rglob("*.png"))
    assert [str(path) for path in found] == ["2.jpg.png", "2.png.png", "seq1/1.png", "seq2/1.png"]
    assert Image.open(tmp_path / "images/masks/seq2/1.png").size == (9, 8)


def test_folders_of_datasets() -> None:
    folders = dataset_folders(["toy_sem_seg_val", "a/b.yaml", "../a/b.yaml", "a_b.yaml", "a/b.yaml", "~"])
    assert list(folders.values()) == ["toy_sem_seg_val", "a_b.yaml", "a_b.yaml_2", "a_b.yaml_3", "dataset"]
    long = dataset_folders([f"/{'x' * 300}/val.yaml", f"/{'x' * 301}/val.yaml"])
    assert len(set(long.values())) == 2 and all(len(name) < 230 and name.endswith("val.yaml") for name in long.values())
