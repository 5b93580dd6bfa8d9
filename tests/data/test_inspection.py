"""What is said of datasets on disk: present, partly, absent; broken files; sheets of samples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from maskclippp.data.datasets import DATASETS, get_metadata, register_all
from maskclippp.data.inspection.presence import find
from maskclippp.data.inspection.scan import check_record, instance_file_problems, scan, survey
from maskclippp.data.inspection.sheet import draw_sheet
from maskclippp.utils.errors import UserError

from .preparation.miniatures import build_lvis

NAME = "openvocab_ade20k_panoptic_val"


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


def test_absent_partly_present(tiny_ade, tiny_toy_instances) -> None:
    root = tiny_ade
    absent = find(DATASETS["openvocab_ade20k_panoptic_train"], root)
    assert absent.state == "absent" and len(absent.missing) == 5 and not absent.usable
    partly = find(DATASETS[NAME], root)
    assert (partly.state, partly.missing) == ("partly", ("ADEChallengeData2016/ade20k_instance_val.json",))
    few = find(DATASETS["openvocab_ade20k_sem_seg_val"], root)
    assert few.state == "partly" and few.usable and len(few.records) == 2
    assert few.missing == ("1998 of the 2000 published pictures are missing",)
    assert find(DATASETS["toy_instance_val"], root).state == "present"
    (root / "toy/images/validation/0.jpg").unlink()
    gone = find(DATASETS["toy_instance_val"], root)
    assert gone.state == "partly" and "1 of 1 pictures are missing, first" in gone.missing[0] and not gone.usable
    # Pictures that other datasets share do not make a dataset half present.
    assert find(DATASETS["openvocab_ade20k_instance_val"], root).state == "absent"


def test_lists_that_cannot_be_read(tiny_toy_instances) -> None:
    (tiny_toy_instances / "toy/instance_val.json").write_text("[")
    found = find(DATASETS["toy_instance_val"], tiny_toy_instances)
    assert found.state == "partly" and "instance_val.json" in found.missing[0] and not found.records


def test_lvis(tmp_path) -> None:
    build_lvis(tmp_path)
    found = find(DATASETS["openvocab_lvis_1203_instance_val"], tmp_path)
    assert found.usable and [record["image_id"] for record in found.records] == [9, 25]
    first, second = found.records
    assert first["file_name"].endswith("coco/train2017/000000000009.jpg") and first["neg_category_ids"] == [3]
    assert second["annotations"][0]["category_id"] == 1202 and not first["annotations"]
    assert not scan(found.row, found.records)
    second["annotations"][0]["segmentation"] = [[0, 0, 50, 0, 50, 10]]
    (message,) = scan(found.row, found.records)
    assert message.endswith("000000000025.jpg, annotation 0: its polygon leaves the picture of 24x32")
    second["annotations"][0]["segmentation"] = []
    assert "it has no mask" in scan(found.row, found.records)[0]
    second["annotations"][0]["segmentation"] = [[4, 4, 4, 9, 4, 6]]
    assert not scan(found.row, found.records)
    with pytest.raises(UserError, match="annotation 0: its mask has no pixel"):
        check_record(second, num_classes=1203, ignore_label=255, own=True)


def test_scan(tiny_ade) -> None:
    row, root = DATASETS["openvocab_ade20k_sem_seg_val"], tiny_ade / "ADEChallengeData2016"
    records = find(row, tiny_ade).records
    assert scan(row, records) == []
    labels = root / "annotations_detectron2/validation/b.png"
    Image.fromarray(np.full((12, 16), 150, np.uint8)).save(labels)
    picture = root / "images/validation/a.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    first, second = scan(row, records)
    assert "a.jpg: cannot be read as an image" in first and "b.png: label 150 in 192 pixels" in second
    Image.fromarray(np.zeros((12, 17), np.uint8)).save(labels)
    assert "12x17 (height x width), but its image is 12x16" in scan(row, records, workers=2)[1]


def test_which_classes_occur_and_what_is_ignored(tiny_ade, tiny_toy_instances) -> None:
    found = find(DATASETS[NAME], tiny_ade)
    (tiny_ade / "ADEChallengeData2016/ade20k_instance_val.json").write_text('{"categories": []}')
    found = find(DATASETS[NAME], tiny_ade)
    absent = "148 of 150 classes occur nowhere (building, sky, floor, tree, ceiling and 143 more)"
    assert survey(found.row, found.records, workers=2).coverage == [
        f"label maps: {absent}, 0.5 % of the pixels are ignored",
        f"segments: {absent}, 0.5 % of the pixels are ignored",
    ]
    found = find(DATASETS["toy_instance_val"], tiny_toy_instances)
    (line,) = survey(found.row, found.records).coverage
    assert line.startswith("instances: 87 of 88 classes occur nowhere (red circle, ")


def test_binary_masks_of_0_and_255(tmp_path, root_dir) -> None:
    """Of two classes, the second is written as 255, which is ignored: nothing of it is there."""
    (tmp_path / "mine.yaml").write_text("images: images\nlabels: labels\nclasses: [wall, crack]\n")
    for folder, values in (("images", (9, 9)), ("labels", (0, 255))):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([values, values], np.uint8)).save(tmp_path / folder / "a.png")
    call = [sys.executable, str(root_dir / "tools/check_datasets.py"), str(tmp_path / "mine.yaml"), "--deep"]
    done = subprocess.run(call, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "    label maps: 1 of 2 classes occur nowhere (crack), 50.0 % of the pixels are ignored\n" in done.stdout


def test_scan_of_segments(tiny_ade) -> None:
    root = tiny_ade / "ADEChallengeData2016"
    record = {
        "file_name": str(root / "images/validation/a.jpg"),
        "pan_seg_file_name": str(root / "ade20k_panoptic_val/a.png"),
        "segments_info": [{"id": 20}, {"id": 300}],
    }
    check_record(record, num_classes=150, ignore_label=255)
    with pytest.raises(UserError, match="segment 300 and 0 others are not in the JSON file"):
        check_record(record | {"segments_info": [{"id": 20}]}, num_classes=150, ignore_label=255)
    with pytest.raises(UserError, match="its annotation says 12x20"):
        check_record(record | {"height": 12, "width": 20}, num_classes=150, ignore_label=255)


def test_sheet(tiny_ade, tmp_path) -> None:
    """Two rows of two pictures; labels change the right one."""
    register_all(str(tiny_ade))
    name, path = "openvocab_ade20k_sem_seg_val", tmp_path / "sheet.png"
    draw_sheet(path, find(DATASETS[name], tiny_ade).records, get_metadata(name), 5)
    sheet = np.asarray(Image.open(path).convert("RGB"))
    assert sheet.shape[1] == 990 and 600 < sheet.shape[0] < 800
    assert not np.array_equal(sheet[100:300, 50:400], sheet[100:300, 500:850])


def test_command_line(tiny_toy_instances, root_dir) -> None:
    call = [sys.executable, str(root_dir / "tools/check_datasets.py"), "--root", str(tiny_toy_instances)]
    done = subprocess.run(
        [
            *call,
            "toy_s*_val",
            "toy_instance_val",
            "--deep",
            "--workers",
            "1",
            "--show",
            "1",
            "--out",
            str(tiny_toy_instances / "sheets"),
        ],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["absent", "toy_sem_seg_val", "python", "tools/make_toy_world.py"]
    assert lines[1:3] == [f"present {'toy_instance_val':52}1 images", "    1 images read, 0 with something wrong"]
    assert lines[-1].startswith("1 present, 0 partly, 1 absent")
    assert (tiny_toy_instances / "sheets/toy_instance_val.png").exists()
    next(tiny_toy_instances.glob("toy/images/validation/*.jpg")).write_bytes(b"broken")
    done = subprocess.run(
        [*call, "toy_instance_val", "--show", "1", "--out", str(tiny_toy_instances)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "cannot be read as an image" in done.stdout and "1 present" in done.stdout
    done = subprocess.run([*call, "toy_nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: no dataset is called 'toy_nothing'")


def test_instance_files_on_the_command_line(tiny_toy_instances, root_dir) -> None:
    """--deep, --show and the loader agree: what it leaves out is said, what it refuses is wrong."""
    root, path = tiny_toy_instances, tiny_toy_instances / "toy/instance_val.json"
    call = [sys.executable, str(root_dir / "tools/check_datasets.py"), "toy_instance_val", "--root", str(root)]
    content = json.loads(path.read_text())

    def check(shape: object, *options: str) -> tuple[int, str]:
        content["annotations"][0]["segmentation"] = shape
        path.write_text(json.dumps(content))
        done = subprocess.run([*call, *options], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    show = ("--show", "1", "--out", str(root / "sheets"))
    code, said = check([[8, 8, 8, 11], [2, 3, 8, 3, 8, 9]], "--deep", "--workers", "1", *show)
    assert code == 0 and "left out 1 polygons" in said and "1 images read, 0 with something wrong" in said
    for option in (("--deep", "--workers", "1"), show):
        code, said = check(None, *option)
        assert code == 1 and "annotations[0]: it has no mask" in said
    assert check(None)[0] == 0  # only looking for files


def test_the_instance_file_of_a_panoptic_dataset(tmp_path) -> None:
    row = replace(DATASETS[NAME], instances_json="i.json")
    assert instance_file_problems(row, tmp_path) == []
    (tmp_path / "i.json").write_text(json.dumps({"images": [], "annotations": [], "categories": [{"id": 1}]}))
    assert instance_file_problems(row, tmp_path) == []
    (tmp_path / "i.json").write_text(json.dumps({"images": [], "annotations": [{}], "categories": [{"id": 1}]}))
    [problem] = instance_file_problems(row, tmp_path)
    assert "annotations[0]: its image_id is missing" in problem


def test_long_names_and_counts_stay_apart(tmp_path, root_dir) -> None:
    """And sheets of equal file names in two folders."""
    for folder in ("one", "two"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(_made(tmp_path / folder / "images/a.png"))
        (tmp_path / folder / "a_dataset_of_my_own_with_a_rather_long_name.yaml").write_text(
            "images: images\nclasses: [a]"
        )
    names = sorted(map(str, tmp_path.glob("*/*.yaml")))
    call = [sys.executable, str(root_dir / "tools/check_datasets.py"), *names, "--deep", "--workers", "1"]
    done = subprocess.run(
        [*call, "--show", "1", "--out", str(tmp_path / "sheets")], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("present")]
    assert lines == [["present", name, "1", "images"] for name in names]
    assert len(list((tmp_path / "sheets").iterdir())) == 2


def _made(path):
    path.parent.mkdir(parents=True)
    return path
