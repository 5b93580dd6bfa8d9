"""Lists, JSON, arrays and masks that are damaged or made to harm: one line that names the file, bounded memory."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskclippp.config import load_config
from maskclippp.data.annotations import places_of_ids, read_json, read_label_map, read_panoptic_ids
from maskclippp.data.datasets import get_metadata
from maskclippp.data.image_size import image_size_hw
from maskclippp.data.images import read_image
from maskclippp.data.mask_files import MaskTable, read_masks
from maskclippp.data.preparation.downloads import read_stems
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.data.vocabularies.check import check_vocabulary, read_classes
from maskclippp.evaluation.panoptic_matching import match_segments
from maskclippp.mask_generators.offline import OfflineSegmentor
from maskclippp.utils.errors import UserError

READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "config": (load_config, ".yaml"),
    "dataset": (get_metadata, ".yaml"),
    "vocabulary": (load_vocabulary, ".tsv"),
    "class list": (read_classes, ".txt"),
    "split list": (lambda path: read_stems(Path(path)), ".txt"),
    "json": (read_json, ".json"),
    "masks json": (read_masks, ".json"),
    "masks npy": (read_masks, ".npy"),
    "masks png": (read_masks, ".png"),
    "mask table": (MaskTable.read, ".json"),
    "picture": (read_image, ".jpg"),
    "picture size": (image_size_hw, ".jpg"),
    "label map": (read_label_map, ".png"),
    "panoptic ids": (read_panoptic_ids, ".png"),
}


def refusal(read: Callable[[Any], Any], path: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 1000
    return text


@pytest.mark.timeout(30)  # a device or a pipe would be read for ever
@pytest.mark.parametrize("name", READERS)
def test_devices_pipes_folders_and_names_that_are_too_long(name, tmp_path):
    read, suffix = READERS[name]
    device, pipe, folder = (tmp_path / f"{kind}{suffix}" for kind in ("device", "pipe", "folder"))
    device.symlink_to("/dev/zero")
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (device, pipe, folder, tmp_path / ("n" * 300 + suffix), f"{tmp_path}/{'d/' * 3000}a{suffix}"):
        assert str(tmp_path) in refusal(read, str(path))
    refusal(read, f"{tmp_path}/a\0{suffix}")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_a_size_that_no_such_file_has(name, tmp_path):
    read, suffix = READERS[name]
    path = tmp_path / f"a{suffix}"
    with open(path, "wb") as file:
        file.truncate(1 << 42)  # a hole, which takes no room
    assert path.name in refusal(read, str(path))


def test_offline_masks_at_odd_places(tmp_path):
    record = {"file_name": "a.jpg", "height": 2, "width": 2}
    (tmp_path / "a.png").symlink_to("/dev/zero")
    segmentor = OfflineSegmentor(source=str(tmp_path), suffix=".png")
    assert "its masks" in refusal(lambda record: segmentor.read(record, ignore_label=255), record)
    assert "OFFLINE_ANN_DIR" in refusal(lambda source: OfflineSegmentor(source=source), "n" * 5000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"id": ' + "9" * 5000 + "}", "a whole number of 5000 digits"),
        ('{"id": 9223372036854775808}', "a whole number of 19 digits"),
        ("\x00", "line 1 column 1"),
        ("", "line 1 column 1"),
        ("\ud800", "'utf-8' codec can't decode"),
    ],
)
def test_json_that_python_does_not_bear(tmp_path, text, reason):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_json, read_masks, MaskTable.read):
        found = refusal(read, tmp_path / "a.json")
        assert "a.json: cannot be read as JSON" in found and reason in found


def test_json_of_good_numbers_is_read_whatever_its_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [-9223372036854775808, 1.5, 2]}')
    assert read_json(tmp_path / "a.json") == {"a": [-(2**63), 1.5, 2]}


def npy(tmp_path: Path, array: np.ndarray, claimed: bytes = b"") -> Path:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    if claimed:
        content = (tmp_path / "a.npy").read_bytes()
        (tmp_path / "a.npy").write_bytes(content.replace(str(array.shape).encode(), claimed))
    return tmp_path / "a.npy"


def test_an_archive_called_npy(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((2, 2), dtype=np.int32))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    assert "this is an archive of arrays (.npz)" in refusal(read_masks, tmp_path / "a.npy")


@pytest.mark.parametrize("claimed", [b"(99999, 99999)", b"(-2, -2)", b"(1e9, 1)", b"((((", b"(None, 2)"])
def test_a_header_that_claims_another_shape(tmp_path, claimed):
    path = npy(tmp_path, np.zeros((4, 4), dtype=np.int32), claimed)
    tracemalloc.start()
    assert "a.npy: cannot be read as a NumPy array" in refusal(read_masks, path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("array", [np.array([[None]], dtype=object), np.array([["a"]]), np.zeros((2, 2)), np.array(5)])
def test_arrays_of_another_kind(tmp_path, array):
    assert "a.npy" in refusal(read_masks, npy(tmp_path, array))


def peak(call: Callable[[], Any]) -> int:
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_ids_that_lie_billions_apart_take_no_memory(tmp_path):
    ids = np.array([[0, 7], [2_000_000_000, 7]], dtype=np.int64)
    assert places_of_ids(ids, [0, 2_000_000_000, 5]).tolist() == [[0, 3], [1, 3]]
    assert places_of_ids(ids.clip(max=9), [0, 2_000_000_000, 7]).tolist() == [[0, 2], [3, 2]]
    assert peak(lambda: places_of_ids(ids, [0, 2_000_000_000])) < 1_000_000
    assert peak(lambda: places_of_ids(ids.clip(max=9), [0, 2_000_000_000])) < 1_000_000
    segments = [{"id": 7, "category_id": 0}, {"id": 2_000_000_000, "category_id": 1}]
    found = []
    assert peak(lambda: found.append(match_segments(ids, segments, ids, segments))) < 1_000_000
    assert [pair[:3] for pair in found[0].pairs] == [(0, 0, 1.0), (1, 1, 1.0)]


def test_masks_and_vocabularies_with_ids_that_lie_billions_apart(tmp_path):
    path = npy(tmp_path, np.array([[0, 2_000_000_000]], dtype=np.int64))
    assert read_masks(path).tolist() == [[[True, False]], [[False, True]]]
    Image.fromarray(np.array([[0, 2_000_000_000]], dtype=np.int32)).save(tmp_path / "l.tif")
    assert "label 2000000000" in refusal(lambda name: read_label_map(name, num_classes=2), tmp_path / "l.tif")
    (tmp_path / "v.tsv").write_text("0\tthing\ta\n3\tthing\tc\n2000000000\tthing\tb\n")
    report = check_vocabulary(str(tmp_path / "v.tsv"))
    assert report.notes == ["1999999998 ids between 0 and 2000000000 are unused: 1, 2, 4, 5, 6 and 1999999993 more"]
    assert peak(lambda: check_vocabulary(str(tmp_path / "v.tsv"))) < 50_000_000  # the table of the tokenizer takes 25


def test_ids_of_thousands_of_digits(tmp_path):
    (tmp_path / "v.tsv").write_text("9" * 5000 + "\tthing\tdog\n")
    assert "has 5000 digits" in refusal(load_vocabulary, tmp_path / "v.tsv")
    (tmp_path / "d.yaml").write_text(f"images: i\nlabels: l\nclasses:\n  ? {'9' * 5000}\n  : dog\n")
    assert "is no id" in refusal(get_metadata, str(tmp_path / "d.yaml"))


@pytest.mark.parametrize("image_id", ["null", "[1]", '{"a": 1}', "true"])
def test_a_table_of_masks_with_ids_that_are_none(tmp_path, image_id):
    (tmp_path / "a.json").write_text('{"images": [{"id": ' + image_id + '}], "annotations": []}')
    assert "a.json, images[0]" in refusal(MaskTable.read, tmp_path / "a.json")


@pytest.mark.parametrize("key", ["images", "labels"])
def test_a_folder_of_a_dataset_that_is_none(tmp_path, key):
    (tmp_path / "i").mkdir()
    tree = {
        "images": "i",
        "labels": "i",
        "classes": "[dog, cat]",
        "image_ext": "png",
        "label_ext": "png",
        key: "/dev/zero",
    }
    (tmp_path / "d.yaml").write_text("".join(f"{name}: {value}\n" for name, value in tree.items()))
    assert f"{key} must be a folder, /dev/zero is none" in refusal(get_metadata, str(tmp_path / "d.yaml"))
