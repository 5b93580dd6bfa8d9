"""Every preparation on a miniature of its download: what it writes, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import pickle
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from maskclippp.data.annotations import read_label_map, read_panoptic_ids
from maskclippp.data.datasets import DATASETS, get_dataset, register_all
from maskclippp.data.preparation.ade20k_full import _shrink
from maskclippp.data.preparation.coco import prepare_class_splits
from maskclippp.data.preparation.downloads import read_stems
from maskclippp.data.preparation.options import run
from maskclippp.data.run_length import decode_rle
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.utils.errors import UserError
from maskclippp.utils.parallel import run_all

from .miniatures import MINIATURES, Miniature, build_context, quarters


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


@pytest.fixture(params=MINIATURES)
def miniature(request) -> Miniature:
    return MINIATURES[request.param]


def prepare(miniature: Miniature, root: Path, *arguments: str, workers: int = 1) -> None:
    run("Prepare.", miniature.prepare, ["--root", str(root), "--workers", str(workers), *arguments])


def failure(capsys, miniature: Miniature, root: Path, *arguments: str) -> str:
    """Return the one line that a preparation ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        prepare(miniature, root, *arguments)
    message = str(stop.value)
    assert message.startswith("error: ") and "\n" not in message and "Traceback" not in message
    return message


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_from_download_to_records(tmp_path, miniature) -> None:
    miniature.build(tmp_path)
    prepare(miniature, tmp_path, "--partial")
    assert all((tmp_path / path).exists() for path in miniature.outputs)
    register_all(str(tmp_path))
    for name in miniature.rows:
        records = get_dataset(name, allow_incomplete=True)
        assert records and all(Path(record["file_name"]).exists() for record in records)
        row = DATASETS[name]
        if row.kind == "instance":
            continue
        for record in records:
            read_label_map(
                record["sem_seg_file_name"],
                size_hw=Image.open(record["file_name"]).size[::-1],
                num_classes=len(load_vocabulary(row.vocabulary)),
                ignore_label=row.ignore_label,
            )


def test_again(tmp_path, miniature) -> None:
    """The second time nothing is written; what is missing is made again, and is the same."""
    miniature.build(tmp_path)
    prepare(miniature, tmp_path, "--partial")
    first = content(tmp_path)
    times = {path: os.stat(tmp_path / path).st_mtime_ns for path in first}
    prepare(miniature, tmp_path, "--partial")
    assert {path: os.stat(tmp_path / path).st_mtime_ns for path in first} == times
    for path in miniature.outputs:
        (tmp_path / path).unlink()
    prepare(miniature, tmp_path, "--partial")
    assert content(tmp_path) == first
    prepare(miniature, tmp_path, "--partial", "--overwrite")
    assert content(tmp_path) == first


def test_empty_folder(tmp_path, miniature, capsys) -> None:
    message = failure(capsys, miniature, tmp_path)
    assert "missing, and nothing else to prepare is there; download it first (see datasets/README.md)" in message
    assert not list(tmp_path.iterdir())


def test_half_a_download(tmp_path, miniature, capsys) -> None:
    """Fewer files than the published set has, or a file that a list names is missing: nothing is written."""
    miniature.build(tmp_path)
    for path in miniature.files:
        (tmp_path / path).unlink()
    if miniature.prepare is prepare_class_splits:
        return  # its only input is one file
    before = content(tmp_path)
    message = failure(capsys, miniature, tmp_path)
    assert "finish the download" in message or "unpack" in message
    assert content(tmp_path) == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign"])
def test_one_broken_file(tmp_path, miniature, capsys, damage) -> None:
    """The file is named; the others are made, nothing is left half-written, and the repaired download is completed."""
    miniature.build(tmp_path)
    intact = content(tmp_path)
    for path in miniature.files:
        whole = intact[path]
        broken = {"truncated": whole[: len(whole) // 2], "empty": b"", "foreign": b"<html>404</html>" * 20}[damage]
        (tmp_path / path).write_bytes(broken)
    before = content(tmp_path)
    message = failure(capsys, miniature, tmp_path, "--partial")
    assert any(Path(path).name in message for path in miniature.files)
    after = content(tmp_path)
    assert not [path for path in after if ".tmp" in path]
    assert {path: after[path] for path in before} == before
    for path in miniature.files:
        (tmp_path / path).write_bytes(intact[path])
    prepare(miniature, tmp_path, "--partial")
    assert all((tmp_path / path).exists() for path in miniature.outputs)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mapillary", "mapillary_vistas/validation/panoptic/zz_1A.png"),
        ("pascal voc", "VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg"),
        ("pascal context 59", "VOCdevkit/VOC2010/JPEGImages/2008_000002.jpg"),
    ],
)
def test_broken_picture_is_not_copied(tmp_path, capsys, name, file) -> None:
    """Inputs that are only copied or checked are read as well; the one that was downloaded is blamed."""
    miniature = MINIATURES[name]
    miniature.build(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    assert str(tmp_path / file) in failure(capsys, miniature, tmp_path, "--partial")
    (tmp_path / file).write_bytes(whole)
    prepare(miniature, tmp_path, "--partial")


def test_every_script_calls_its_preparation(root_dir, capsys, monkeypatch) -> None:
    scripts = sorted((root_dir / "datasets").glob("prepare_*.py"))
    assert len(scripts) == len({miniature.prepare for miniature in MINIATURES.values()})
    for script in scripts:
        monkeypatch.setattr("sys.argv", [str(script), "--help"])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(script), run_name="__main__")
        text = capsys.readouterr().out
        assert stop.value.code == 0 and "--root" in text and "--workers" in text
    assert {f"datasets/{script.name}" for script in scripts} == {
        row.preparation.split()[1]
        for row in DATASETS.values()
        if "prepare_" in row.preparation and ".py" in row.preparation
    }


def test_wrong_options(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit, match="no such folder"):
        run("", lambda options: None, ["--root", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="--workers 0: give 1 or more"):
        run("", lambda options: None, ["--root", str(tmp_path), "--workers", "0"])


def build_and_prepare(name: str, root: Path) -> None:
    MINIATURES[name].build(root)
    prepare(MINIATURES[name], root, "--partial")


def values(path: Path) -> np.ndarray:
    """The labels of the four quarters."""
    array = np.asarray(Image.open(path))
    return np.array([array[4, 4], array[4, 28], array[20, 4], array[20, 28], array[0, 0]])


def test_ade20k(tmp_path) -> None:
    MINIATURES["ade20k panoptic"].build(tmp_path)
    prepare(MINIATURES["ade20k panoptic"], tmp_path, "--partial", workers=2)
    root = tmp_path / "ADEChallengeData2016"
    labels = root / "annotations_detectron2/validation/ADE_val_00000001.png"
    assert values(labels).tolist() == [0, 7, 2, 255, 255]
    panoptic = json.loads((root / "ade20k_panoptic_val.json").read_text())
    (first, second) = panoptic["annotations"]
    assert [image["id"] for image in panoptic["images"]] == ["ADE_val_00000001", "ADE_val_00000002"]
    assert len(panoptic["categories"]) == 150 and panoptic["categories"][7]["isthing"] == 1
    segments = {segment["category_id"]: segment for segment in first["segments_info"]}
    assert [segment["category_id"] for segment in first["segments_info"]] == [0, 2, 7, 12, 12]
    assert segments[0]["area"] == 12 * 16 - 1, "of the stuff's own region, also where an object lies on it"
    assert segments[0]["bbox"] == [0, 0, 16, 12] and segments[7]["bbox"] == [10, 2, 10, 6]
    ids = read_panoptic_ids(root / "ade20k_panoptic_val/ADE_val_00000001.png")
    found = {segment["id"] for segment in first["segments_info"]}
    assert len(found) == 5 and set(np.unique(ids)) == found | {0}
    assert (ids == segments[7]["id"]).sum() == 60 and (ids == segments[0]["id"]).sum() == 12 * 16 - 1 - 6 * 6
    assert (ids[:12, 22:] == 0).all(), "labelled as a thing, but no instance"
    instances = json.loads((root / "ade20k_instance_val.json").read_text())
    assert [entry["id"] for entry in instances["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert [entry["category_id"] for entry in instances["annotations"][:3]] == [7, 12, 12]
    assert (
        decode_rle(instances["annotations"][0]["segmentation"], "").sum() == instances["annotations"][0]["area"] == 60
    )
    assert instances["categories"][1] == {"id": 8, "name": "windowpane"} and len(instances["categories"]) == 100


def test_ade20k_instances_need_no_label_maps(tmp_path) -> None:
    MINIATURES["ade20k instance"].build(tmp_path)
    shutil.rmtree(tmp_path / "ADEChallengeData2016/annotations")
    prepare(MINIATURES["ade20k instance"], tmp_path, "--partial")
    with pytest.raises(SystemExit, match="annotations/training: missing, the rest of 'train' is there"):
        prepare(MINIATURES["ade20k panoptic"], tmp_path, "--partial")


def test_ade20k_surplus_class(tmp_path, capsys) -> None:
    MINIATURES["ade20k panoptic"].build(tmp_path)
    path = tmp_path / "ADEChallengeData2016/annotations_instance/training/ADE_train_00000001.png"
    array = np.array(Image.open(path))
    array[2, 10] = (9, 1, 0)
    Image.fromarray(array).save(path)
    message = failure(capsys, MINIATURES["ade20k panoptic"], tmp_path, "--partial")
    assert "instance 1 has the classes [1, 9], expected one of 1 to 100" in message
    assert not (tmp_path / "ADEChallengeData2016/ade20k_panoptic_train.json").exists()


def test_coco_panoptic(tmp_path) -> None:
    build_and_prepare("coco panoptic", tmp_path)
    assert values(tmp_path / "coco/panoptic_semseg_val2017/000000000009.png").tolist() == [0, 2, 119, 255, 255]


def test_coco_panoptic_of_one_split(tmp_path) -> None:
    """The JSON files of both splits come in one archive."""
    MINIATURES["coco panoptic"].build(tmp_path)
    shutil.rmtree(tmp_path / "coco/panoptic_train2017")
    prepare(MINIATURES["coco panoptic"], tmp_path, "--partial")
    assert not (tmp_path / "coco/panoptic_semseg_train2017").exists()
    (tmp_path / "coco/annotations/panoptic_val2017.json").unlink()
    with pytest.raises(SystemExit, match="panoptic_val2017.json: no such file"):
        prepare(MINIATURES["coco panoptic"], tmp_path, "--partial")


def test_coco_stuff(tmp_path, capsys) -> None:
    build_and_prepare("coco stuff", tmp_path)
    assert values(tmp_path / "coco/stuffthingmaps_detectron2/val2017/000000000009.png").tolist() == [
        *(0, 255, 170, 255, 255)
    ]
    source = tmp_path / "coco/stuffthingmaps/val2017/000000000009.png"
    # Every published value: the table of ids minus 1, and the eleven that are no class.
    Image.fromarray(np.arange(182, dtype=np.uint8).reshape(14, 13)).save(source)
    Image.fromarray(np.zeros((14, 13, 3), np.uint8)).save(tmp_path / "coco/val2017/000000000009.jpg")
    prepare(MINIATURES["coco stuff"], tmp_path, "--partial", "--overwrite")
    made = np.asarray(Image.open(tmp_path / "coco/stuffthingmaps_detectron2/val2017/000000000009.png")).ravel()
    assert made[made < 255].tolist() == list(range(171))
    assert np.flatnonzero(made == 255).tolist() == [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90]
    Image.fromarray(quarters(0, 1, 182, 255)).save(source)
    message = failure(capsys, MINIATURES["coco stuff"], tmp_path, "--partial", "--overwrite")
    assert "000000000009.png: value 182; COCO-Stuff's pixel maps hold 0 to 181, and 255" in message


def test_coco_class_splits(tmp_path) -> None:
    build_and_prepare("coco class splits", tmp_path)
    folder = tmp_path / "coco/annotations/ov_split_48_17"
    found = {
        path.stem.split("_")[-1]: json.loads(path.read_text()) for path in sorted(folder.glob("instances_val2017_*"))
    }
    assert {part: len(entry["categories"]) for part, entry in found.items()} == {
        "instances65": 65,
        "seen48": 48,
        "unseen17": 17,
    }
    assert [entry["category_id"] for entry in found["seen48"]["annotations"]] == [1, 78]
    assert [image["id"] for image in found["unseen17"]["images"]] == [9]
    assert [image["id"] for image in found["instances65"]["images"]] == [9, 25]
    assert found["seen48"]["info"] == {"year": 2017}


def test_ade20k_full(tmp_path) -> None:
    build_and_prepare("ade20k full", tmp_path)
    root = tmp_path / "ADE20K_2021_17_01"
    labels = read_label_map(root / "annotations_detectron2/training/ADE_train_00000001.tif")
    assert (labels[0, 0], labels[0, 1], labels[20, 0]) == (65535, 2, 0)
    large = Image.open(root / "images_detectron2/validation/ADE_val_00000001.jpg")
    assert large.size == (768, 512)
    labels = read_label_map(root / "annotations_detectron2/validation/ADE_val_00000001.tif", size_hw=(512, 768))
    assert (labels[:256, 1:] == 2).all() and (labels[256:] == 0).all()


@pytest.mark.parametrize("size_hw", [(520, 780), (781, 520), (512, 900), (100, 3000), (1536, 513)])
def test_ade20k_full_sizes(size_hw) -> None:
    """The shorter side becomes 512, nearest pixels are those of OpenCV 4: row floor(y * H / h)."""
    pixels = np.random.default_rng(0).integers(0, 60000, size_hw, dtype=np.uint16)
    made = _shrink(pixels, cv2.INTER_NEAREST)
    shorter = min(size_hw)
    expected = tuple(512 if side == shorter else round(side / shorter * 512) for side in size_hw)
    if shorter <= 512:
        expected = size_hw
    rows, columns = (np.arange(n) * old // n for n, old in zip(expected, size_hw, strict=True))
    assert made.shape == expected and np.array_equal(made, pixels[rows][:, columns])


def test_ade20k_index_runs_no_code(tmp_path, capsys) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "done"),)

    MINIATURES["ade20k full"].build(tmp_path)
    (tmp_path / "ADE20K_2021_17_01/index_ade20k.pkl").write_bytes(pickle.dumps({"folder": Evil(), "filename": []}))
    message = failure(capsys, MINIATURES["ade20k full"], tmp_path)
    assert "not the index of ADE20K" in message and not (tmp_path / "done").exists()


def test_context(tmp_path) -> None:
    build_context(tmp_path)
    for name in ("pascal context 459", "pascal context 59"):
        prepare(MINIATURES[name], tmp_path, "--partial")
    root = tmp_path / "pascal_ctx_d2"
    assert values(root / "annotations_ctx459/validation/2008_000007.tif").tolist() == [1, 396, 0, 65535, 65535]
    names = load_vocabulary("pascal_context_59").names
    table = next(index for index, entry in enumerate(names) if "diningtable" in entry or "table" in entry)
    assert values(root / "annotations_ctx59/validation/2008_000007.png").tolist() == [0, table, 255, 255, 255]


def test_context_59_are_classes_of_the_459() -> None:
    """The ids of the 59 lead to the classes of the same name (the table has two)."""
    from maskclippp.data.preparation.pascal import _CONTEXT_59_IDS

    names, small = load_vocabulary("pascal_context_459").names, load_vocabulary("pascal_context_59").names
    pairs = zip(_CONTEXT_59_IDS, small, strict=True)
    unlike = [(entry[0], names[raw - 1][0]) for raw, entry in pairs if set(entry).isdisjoint(names[raw - 1])]
    assert unlike == [("computer case", "computer")]


def test_context_split_from_the_published_file(tmp_path, capsys) -> None:
    build_context(tmp_path)
    root = tmp_path / "VOCdevkit/VOC2010"
    for split in ("train", "val"):
        (root / f"ImageSets/Main/{split}.txt").unlink()
    message = failure(capsys, MINIATURES["pascal context 59"], tmp_path, "--partial")
    assert "train.txt: missing, and so is trainval_merged.json" in message
    images = [("2008_000002", "train"), ("2008_000003", "val"), ("2008_000007", "val")]
    listed = {"images": [{"file_name": f"{stem}.jpg", "phase": phase} for stem, phase in images]}
    (root / "trainval_merged.json").write_text(json.dumps(listed))
    prepare(MINIATURES["pascal context 59"], tmp_path, "--partial")
    made = sorted(path.name for path in (tmp_path / "pascal_ctx_d2/annotations_ctx59/validation").iterdir())
    assert made == ["2008_000003.png", "2008_000007.png"]


def test_voc(tmp_path) -> None:
    build_and_prepare("pascal voc", tmp_path)
    root = tmp_path / "pascal_voc_d2"
    assert values(root / "annotations_pascal21/validation/2007_000033.png").tolist() == [0, 1, 20, 255, 255]
    assert values(root / "annotations_pascal20/validation/2007_000033.png").tolist() == [255, 0, 19, 255, 255]
    source = tmp_path / "VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg"
    assert (root / "images/validation/2007_000033.jpg").read_bytes() == source.read_bytes()


def test_cityscapes(tmp_path) -> None:
    build_and_prepare("cityscapes", tmp_path)
    root = tmp_path / "cityscapes/gtFine"
    stem = "ulm_000000_000019_gtFine"
    assert values(root / f"val/ulm/{stem}_labelTrainIds.png").tolist() == [0, 13, 255, 255, 255]
    (first, _) = json.loads((root / "cityscapes_panoptic_val.json").read_text())["annotations"]
    assert first["image_id"] == "ulm_000000_000019" and first["file_name"] == f"{stem}_panoptic.png"
    found = {s["id"]: (s["category_id"], s["iscrowd"], s["area"]) for s in first["segments_info"]}
    assert found == {7: (7, 0, 191), 26: (26, 1, 192 - 24), 26001: (26, 0, 24)}
    ids = read_panoptic_ids(root / f"cityscapes_panoptic_val/{stem}_panoptic.png")
    assert set(np.unique(ids)) == {0, 7, 26, 26001}


def test_failures_are_counted_and_the_rest_is_done() -> None:
    done = []

    def work(item: int) -> int:
        if item % 2:
            raise UserError(f"item {item} is odd")
        done.append(item)
        return item

    with pytest.raises(UserError, match=r"^item 1 is odd \(and 1 more of 4 files failed\)$"):
        run_all(work, [0, 1, 2, 3], workers=1, title="")
    assert done == [0, 2] and run_all(work, [4, 2], workers=1, title="") == [4, 2]


def test_split_files(tmp_path) -> None:
    path = tmp_path / "val.txt"
    path.write_text("a  1\n\nb -1\n")
    assert read_stems(path) == ["a", "b"]
    path.write_text("../../secret\n")
    with pytest.raises(UserError, match="not a file name without suffix"):
        read_stems(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="lists no picture"):
        read_stems(path)


def test_cityscapes_as_its_own_scripts(tmp_path) -> None:
    """The panoptic files of cityscapesScripts, where it is installed, are the same."""
    official = pytest.importorskip("cityscapesscripts.preparation.createPanopticImgs")
    build_and_prepare("cityscapes", tmp_path)
    root = tmp_path / "cityscapes/gtFine"
    (tmp_path / "theirs").mkdir()
    official.convert2panoptic(str(root), str(tmp_path / "theirs"), setNames=["val"])
    theirs = json.loads((tmp_path / "theirs/cityscapes_panoptic_val.json").read_text())
    ours = json.loads((root / "cityscapes_panoptic_val.json").read_text())
    assert ours["annotations"] == theirs["annotations"] and ours["images"] == theirs["images"]
    assert [entry["id"] for entry in ours["categories"]] == [entry["id"] for entry in theirs["categories"]]
    for path in sorted((root / "cityscapes_panoptic_val").iterdir()):
        their_ids = read_panoptic_ids(tmp_path / "theirs/cityscapes_panoptic_val" / path.name)
        assert np.array_equal(read_panoptic_ids(path), their_ids)
