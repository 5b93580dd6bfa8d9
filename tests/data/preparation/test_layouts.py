"""Downloads as they really look: other archives, files that are not needed missing, folders too deep, junk."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.datasets.lvis_v0_5_categories import LVIS_CATEGORIES as LVIS_V0_5
from PIL import Image

from maskclippp.data.datasets import DATASETS, register_all
from maskclippp.data.datasets.loaders import load_records
from maskclippp.data.inspection.presence import find
from maskclippp.data.inspection.scan import scan
from maskclippp.data.layouts import deep_hint
from maskclippp.utils.errors import UserError

from .miniatures import MINIATURES, Miniature, build_lvis, labels, picture, quarters, write_json
from .test_preparation import content, failure, prepare

VOC, MAPILLARY, FULL = "VOCdevkit/VOC2012", "mapillary_vistas/validation", "ADE20K_2021_17_01"


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


@pytest.fixture(params=MINIATURES)
def miniature(request) -> Miniature:
    return MINIATURES[request.param]


def made(build: Callable[[Path], None], name: str, root: Path) -> dict[str, bytes]:
    """Return what a preparation adds to a download."""
    root.mkdir()
    build(root)
    before = content(root)
    prepare(MINIATURES[name], root, "--partial")
    return {path: data for path, data in content(root).items() if path not in before}


def test_the_check_agrees(tmp_path, miniature) -> None:
    """What a preparation calls finished, tools/check_datasets.py --deep does as well."""
    miniature.build(tmp_path)
    prepare(miniature, tmp_path, "--partial")
    for name in miniature.rows:
        presence = find(DATASETS[name], tmp_path)
        assert presence.usable and scan(presence.row, presence.records) == []


def test_junk_of_other_systems(tmp_path, miniature) -> None:
    """Hidden twins of every file, .DS_Store and __MACOSX change nothing, neither for the preparation nor later."""
    miniature.build(tmp_path / "plain")
    miniature.build(tmp_path / "strewn")
    shutil.copytree(tmp_path / "plain", tmp_path / "strewn/__MACOSX")
    for path in [path for path in (tmp_path / "strewn").rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
        path.with_name(".DS_Store").write_bytes(b"\0")
    for name in ("plain", "strewn"):
        prepare(miniature, tmp_path / name, "--partial")
    strewn = content(tmp_path / "strewn")
    assert {path: data for path, data in strewn.items() if "/." not in path and "MACOSX" not in path} == content(
        tmp_path / "plain"
    )
    for name in miniature.rows:
        plain, strewn = (
            load_records(DATASETS[name], str(tmp_path / part), allow_incomplete=True) for part in ("plain", "strewn")
        )
        assert len(plain) == len(strewn)


def test_one_folder_too_deep(tmp_path, miniature, capsys) -> None:
    """Sources that are only read are found; of files that are used where they are, the place is told."""
    miniature.build(tmp_path)
    (top,) = tmp_path.iterdir()
    top.rename(tmp_path / "moved")
    top.mkdir()
    (tmp_path / "moved").rename(top / top.name)
    before = content(tmp_path)
    try:
        prepare(miniature, tmp_path, "--partial")
    except SystemExit as stop:
        assert f"{top / top.name}" in str(stop) and "move " in str(stop)
        assert content(tmp_path) == before
    else:
        assert find(DATASETS[miniature.rows[0]], tmp_path).usable


@pytest.mark.parametrize(
    ("name", "usual", "place"),
    [
        ("pascal voc", VOC, "VOC2012"),
        ("pascal voc", VOC, f"VOCtrainval_11-May-2012/{VOC}"),
        ("pascal voc", VOC, "VOCdevkit/VOC2012/VOC2012"),
        ("pascal context 59", "VOCdevkit/VOC2010", "VOC2010"),
        ("pascal context 459", "VOCdevkit/VOC2010", "VOCdevkit/VOCdevkit/VOC2010"),
        ("ade20k full", FULL, f"ade/{FULL}"),
        ("ade20k full without index", FULL, f"{FULL}/{FULL}"),
        ("coco stuff", "coco/stuffthingmaps", "coco/stuffthingmaps_trainval2017"),
        ("coco stuff", "coco/stuffthingmaps", "coco/stuffthingmaps/stuffthingmaps"),
        ("coco stuff", "coco/stuffthingmaps/val2017", "coco/stuffthingmaps/val2017/val2017"),
    ],
)
def test_sources_are_found(tmp_path, name, usual, place) -> None:
    """What is made does not depend on the folder that an archive was unpacked in."""
    expected = made(MINIATURES[name].build, name, tmp_path / "usual")

    def build(root: Path) -> None:
        MINIATURES[name].build(root)
        (root / usual).rename(root / "moved")
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / "moved").rename(root / place)

    assert made(build, name, tmp_path / "other") == expected


def test_stuff_maps_among_the_pictures(tmp_path) -> None:
    """The archive of COCO-Stuff unpacked in coco/: its folders have the names of those of the pictures."""
    expected = made(MINIATURES["coco stuff"].build, "coco stuff", tmp_path / "usual")

    def build(root: Path) -> None:
        MINIATURES["coco stuff"].build(root)
        shutil.copytree(root / "coco/stuffthingmaps", root / "coco", dirs_exist_ok=True)
        shutil.rmtree(root / "coco/stuffthingmaps")

    assert made(build, "coco stuff", tmp_path / "other") == expected


@pytest.mark.parametrize(
    ("name", "usual", "place"),
    [
        ("cityscapes", "cityscapes/leftImg8bit", "cityscapes/leftImg8bit_trainvaltest/leftImg8bit"),
        ("cityscapes", "cityscapes/gtFine", "cityscapes/gtFine_trainvaltest/gtFine"),
        ("cityscapes", "cityscapes/gtFine", "gtFine"),
        ("ade20k semantic", "ADEChallengeData2016/annotations", "ADEChallengeData2016/annotations/annotations"),
        ("ade20k panoptic", "ADEChallengeData2016/images", "ADEChallengeData2016/x/images"),
        ("coco panoptic", "coco/panoptic_val2017", "coco/annotations/panoptic_val2017"),
        ("coco panoptic", "coco/train2017", "coco/train2017/train2017"),
        ("coco panoptic", "coco/annotations", "coco/annotations/annotations"),
        ("coco class splits", "coco/annotations", "coco/annotations/annotations"),
        ("mapillary", "mapillary_vistas", "mapillary_vistas/mapillary-vistas-dataset_public_v1.2"),
        ("mapillary", f"{MAPILLARY}/images", f"{MAPILLARY}/images/images"),
    ],
)
def test_misplaced(tmp_path, capsys, name, usual, place) -> None:
    """Files that are used where they are: both places are told, and nothing is written."""
    MINIATURES[name].build(tmp_path)
    (tmp_path / usual).rename(tmp_path / "moved")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "moved").rename(tmp_path / place)
    before = content(tmp_path)
    message = failure(capsys, MINIATURES[name], tmp_path, "--partial")
    assert str(tmp_path / place) in message and str(tmp_path / usual) in message and "move" in message
    assert content(tmp_path) == before


def test_the_check_tells_of_a_folder_too_deep(tmp_path) -> None:
    MINIATURES["coco panoptic"].build(tmp_path)
    prepare(MINIATURES["coco panoptic"], tmp_path, "--partial")
    folder = tmp_path / "coco/val2017"
    folder.rename(tmp_path / "coco/moved")
    folder.mkdir()
    (tmp_path / "coco/moved").rename(folder / "val2017")
    row = DATASETS["openvocab_coco_2017_val_panoptic_with_sem_seg"]
    assert f"{folder}/val2017/000000000009.jpg" in find(row, tmp_path).missing[0]
    with pytest.raises(UserError, match="one folder too deep, .*val2017/val2017/000000000009.jpg: move it up"):
        load_records(row, str(tmp_path))


@pytest.mark.parametrize("parts", [("x" * 5000,), ("x",) * 3000])
def test_paths_that_are_too_long_are_not_there(tmp_path, parts) -> None:
    assert deep_hint(tmp_path.joinpath(*parts)) == ""
    row = replace(DATASETS["toy_sem_seg_val"], sem_seg_root="/".join(parts))
    assert find(row, tmp_path).state == "absent"


def test_cityscapes_of_instance_ids(tmp_path) -> None:
    """Training ids and panoptic files are the same without label ids."""
    both = made(MINIATURES["cityscapes"].build, "cityscapes", tmp_path / "both")
    assert made(MINIATURES["cityscapes of instance ids"].build, "cityscapes", tmp_path / "instances") == both
    assert len(both) == 10


def test_cityscapes_without_instance_ids(tmp_path, capsys) -> None:
    """Label ids do not tell objects apart; what is missing is named, and counted."""
    MINIATURES["cityscapes"].build(tmp_path)
    for path in (tmp_path / "cityscapes/gtFine/val").glob("*/*_instanceIds.png"):
        path.unlink()
    message = failure(capsys, MINIATURES["cityscapes"], tmp_path, "--partial")
    assert "ulm_000000_000019_gtFine_instanceIds.png: missing, like 2 of 2 of" in message
    shutil.rmtree(tmp_path / "cityscapes/gtFine")
    message = failure(capsys, MINIATURES["cityscapes"], tmp_path)
    assert "gtFine/val: missing" in message and "although" in message and "leftImg8bit is there" in message


def test_ade20k_full_without_index(tmp_path, capsys) -> None:
    """The folders hold the same pictures as the index lists."""
    indexed = made(MINIATURES["ade20k full"].build, "ade20k full", tmp_path / "indexed")
    name = "ade20k full without index"
    assert made(MINIATURES[name].build, name, tmp_path / "walked") == indexed and len(indexed) == 6
    shutil.rmtree(tmp_path / "walked" / FULL / "images_detectron2")
    message = failure(capsys, MINIATURES[name], tmp_path / "walked")
    assert f"{FULL}/images/ADE/training: 1 files, the published set has 25574; finish the download" in message
    shutil.rmtree(tmp_path / "walked" / FULL / "images")
    (tmp_path / "walked" / FULL / "images/ADE").mkdir(parents=True)
    assert "images/ADE: holds no *.jpg" in failure(capsys, MINIATURES[name], tmp_path / "walked", "--partial")


@pytest.mark.parametrize("folder", ["ADE20K_2016_07_26", FULL])
def test_ade20k_of_2016(tmp_path, capsys, folder) -> None:
    """The release with a MATLAB index is another one, also in the folder of the right one."""
    picture(tmp_path / folder / "images/training/a/abbey/ADE_train_00000970.jpg")
    (tmp_path / folder / "index_ade20k.mat").write_bytes(b"MATLAB 5.0")
    message = failure(capsys, MINIATURES["ade20k full"], tmp_path)
    assert f"{folder}: the release of 2016 and 2017" in message and f"need {FULL}" in message


@pytest.mark.parametrize("absent", ["val", "train"])
@pytest.mark.parametrize("whole", [False, True])
def test_voc_without_a_list(tmp_path, caplog, absent, whole) -> None:
    """One list follows from the other and from trainval.txt or the label maps."""
    expected = made(MINIATURES["pascal voc"].build, "pascal voc", tmp_path / "lists")

    def build(root: Path) -> None:
        MINIATURES["pascal voc"].build(root)
        lists = root / VOC / "ImageSets/Segmentation"
        if whole:
            (lists / "trainval.txt").write_text("2007_000032\n2007_000033\n2007_000042\n")
            picture(root / VOC / "JPEGImages/2007_000099.jpg")
            labels(root / VOC / "SegmentationClass/2007_000099.png", quarters(0, 0, 0, 0))
        (lists / f"{absent}.txt").unlink()

    with caplog.at_level(logging.INFO):
        assert made(build, "pascal voc", tmp_path / "other") == expected
    count = {"val": 2, "train": 1}[absent]
    assert f"'{absent}' is the {count} others of {'trainval.txt' if whole else 'SegmentationClass'}" in caplog.text


def test_voc_without_lists(tmp_path, capsys) -> None:
    MINIATURES["pascal voc"].build(tmp_path)
    lists = tmp_path / VOC / "ImageSets/Segmentation"
    (lists / "val.txt").unlink()
    assert "SegmentationClass: 1 files" in failure(capsys, MINIATURES["pascal voc"], tmp_path), "the count is compared"
    (lists / "train.txt").unlink()
    message = failure(capsys, MINIATURES["pascal voc"], tmp_path, "--partial")
    assert "train.txt: missing, and so is" in message and "nothing tells the splits apart" in message
    shutil.rmtree(lists.parent)
    message = failure(capsys, MINIATURES["pascal voc"], tmp_path, "--partial")
    assert "ImageSets/Segmentation: missing, the rest of" in message
    shutil.rmtree(tmp_path / VOC / "SegmentationClass")
    message = failure(capsys, MINIATURES["pascal voc"], tmp_path, "--partial")
    assert "SegmentationClass: missing, and so is" in message and "there is" in message and "JPEGImages" in message


def test_voc_in_colours(tmp_path, capsys) -> None:
    """Colours become their classes; one that is not VOC's is refused, with the number of its pixels."""
    name = "pascal voc in colours"
    MINIATURES[name].build(tmp_path)
    prepare(MINIATURES[name], tmp_path, "--partial")
    found = np.asarray(Image.open(tmp_path / "pascal_voc_d2/annotations_pascal21/validation/2007_000033.png"))
    assert np.array_equal(found, quarters(0, 1, 20, 255))
    source = tmp_path / VOC / "SegmentationClass/2007_000033.png"
    pixels = np.array(Image.open(source))
    pixels[3, 3:6] = (128, 0, 1)
    Image.fromarray(pixels).save(source)
    message = failure(capsys, MINIATURES[name], tmp_path, "--partial", "--overwrite")
    assert "2007_000033.png: colour (128, 0, 1) in 3 pixels is none of PASCAL VOC's" in message


def test_every_colour_of_voc(tmp_path) -> None:
    """The 21 published colours and void, in RGB, in RGBA, and with a palette that counts them in another order."""
    from maskclippp.data.preparation.voc_maps import read_voc_map

    colours = """0 0 0, 128 0 0, 0 128 0, 128 128 0, 0 0 128, 128 0 128, 0 128 128, 128 128 128, 64 0 0, 192 0 0,
        64 128 0, 192 128 0, 64 0 128, 192 0 128, 64 128 128, 192 128 128, 0 64 0, 128 64 0, 0 192 0, 128 192 0,
        0 64 128, 224 224 192"""
    table = np.array([list(map(int, entry.split())) for entry in colours.split(",")], np.uint8)[None]
    expected = [*range(21), 255]
    for mode in ("RGB", "RGBA"):
        Image.fromarray(table).convert(mode).save(tmp_path / f"{mode}.png")
        assert read_voc_map(tmp_path / f"{mode}.png")[0].tolist() == expected
    image = Image.fromarray(np.arange(22, dtype=np.uint8)[None])
    image.putpalette(table[0, ::-1].tobytes())
    image.save(tmp_path / "reordered.png")
    assert read_voc_map(tmp_path / "reordered.png")[0].tolist() == expected[::-1]
    Image.fromarray(np.array([expected], np.uint8)).save(tmp_path / "grey.png")
    assert read_voc_map(tmp_path / "grey.png")[0].tolist() == expected
    Image.fromarray(np.array([[21]], np.uint8)).save(tmp_path / "grey.png")
    with pytest.raises(UserError, match="grey.png: label 21 in 1 pixels"):
        read_voc_map(tmp_path / "grey.png")


def test_capital_letters(tmp_path, miniature) -> None:
    """Names ending in .JPG and .jpg, in one folder, are both pictures."""
    miniature.build(tmp_path)
    by_name = [DATASETS[name].kind != "sem_seg" for name in miniature.rows]
    if any(by_name) or (tmp_path / FULL / "index_ade20k.pkl").exists():
        return  # a list names the pictures
    renamed = sorted(tmp_path.rglob("*.jpg"))[::2]
    for path in renamed:
        path.rename(path.with_suffix(".JPG"))
    prepare(miniature, tmp_path, "--partial")
    for name in miniature.rows:
        records = load_records(DATASETS[name], str(tmp_path), allow_incomplete=True)
        assert len(records) == len(list((tmp_path / DATASETS[name].sem_seg_root).iterdir()))
        assert all(Path(r["file_name"]).stem == Path(r["sem_seg_file_name"]).stem for r in records)


def test_twice_but_for_capital_letters(tmp_path, capsys) -> None:
    MINIATURES["pascal voc"].build(tmp_path)
    folder = tmp_path / VOC / "JPEGImages"
    shutil.copy(folder / "2007_000032.jpg", folder / "2007_000032.JPG")
    message = failure(capsys, MINIATURES["pascal voc"], tmp_path, "--partial")
    assert "2007_000032.jpg: 2007_000032.JPG beside it has the same name but for capital letters" in message


def change_mapillary(root: Path, change: Callable[[dict], None]) -> None:
    MINIATURES["mapillary in the archive of v2.0"].build(root)
    path = root / MAPILLARY / "v1.2/panoptic/panoptic_2018.json"
    entries = json.loads(path.read_text())
    change(entries)
    write_json(path, entries)


def renumber(entries: dict, shift: int) -> None:
    for entry in [*entries["categories"]]:
        entry["id"] += shift
    for segment in [s for annotation in entries["annotations"] for s in annotation["segments_info"]]:
        segment["category_id"] += shift


def without_names(entries: dict) -> None:
    del entries["categories"]
    renumber_only = [s for annotation in entries["annotations"] for s in annotation["segments_info"]]
    renumber_only[0]["category_id"] = 66


def stranger(entries: dict) -> None:
    entries["annotations"][0].update(image_id="else", file_name="else.png")
    entries["images"][0].update(id="else", file_name="else.jpg")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda entries: renumber(entries, -1), "category 0 is 'bird', in mapillary_vistas_65 it is no class"),
        (lambda entries: renumber(entries, 1), "category 2 is 'bird', in mapillary_vistas_65 it is 'ground animal'"),
        (without_names, "category_id 66 of segment 5 is not in the vocabulary"),
        (lambda entries: entries["annotations"].pop(), "does not list zz_1A.jpg, one of 1"),
        (stranger, "else"),
        (lambda entries: entries["annotations"][1]["segments_info"].pop(), "segment 70000 and 0 others are not in"),
    ],
)
def test_mapillary_with_foreign_ids(tmp_path, capsys, change, told) -> None:
    """What the check would refuse, the preparation does; lists that are wrong stop it before it writes."""
    change_mapillary(tmp_path, change)
    before = content(tmp_path)
    message = failure(capsys, MINIATURES["mapillary"], tmp_path, "--partial")
    assert told in message
    if "segment 70000" not in told:
        assert content(tmp_path) == before


def test_mapillary_archives(tmp_path, capsys) -> None:
    """The files of v1.2 are taken from the archive of v2.0; its own annotations are not those of the 65 classes."""
    added = made(MINIATURES["mapillary in the archive of v2.0"].build, "mapillary", tmp_path / "v2")
    plain = tmp_path / "v1"
    made(MINIATURES["mapillary"].build, "mapillary", plain)
    assert added == {path: data for path, data in content(plain).items() if path in added} and len(added) == 5
    shutil.rmtree(tmp_path / "v2")
    MINIATURES["mapillary in the archive of v2.0"].build(tmp_path)
    shutil.rmtree(tmp_path / MAPILLARY / "v1.2")
    message = failure(capsys, MINIATURES["mapillary"], tmp_path, "--partial")
    assert "v1.2: missing; the annotations in" in message and "124 classes" in message
    shutil.rmtree(tmp_path / MAPILLARY / "v2.0")
    message = failure(capsys, MINIATURES["mapillary"], tmp_path, "--partial")
    assert all(part in message for part in ("labels: missing, and so are", "panoptic", "there is", "validation/images"))


def lvis(root: Path, categories: list[dict]) -> None:
    build_lvis(root)
    path = root / "lvis/lvis_v1_val.json"
    content, listed = json.loads(path.read_text()), {category["id"] for category in categories}
    annotations = [annotation for annotation in content["annotations"] if annotation["category_id"] in listed]
    write_json(path, content | {"annotations": annotations, "categories": categories})


def test_lvis_of_version_0_5(tmp_path, caplog) -> None:
    """Names are compared: version 0.5 numbers other classes with the same ids."""
    row = DATASETS["openvocab_lvis_1203_instance_val"]
    names = [{"id": entry["id"], "name": entry["synonyms"][0]} for entry in LVIS_V0_5]
    for categories in (names, names[:1203], names[:1]):
        lvis(tmp_path, categories)
        with pytest.raises(UserError, match="looks like LVIS v0.5: category 1 is 'acorn', in v1 it is 'aerosol can'"):
            load_records(row, str(tmp_path))
        assert find(row, tmp_path).state == "partly" and "v0.5" in find(row, tmp_path).missing[0]
    lvis(tmp_path, [{"id": 1, "name": "Aerosol_Can"}, {"id": 2, "name": "airplane"}])
    with pytest.raises(UserError, match="category 2 is 'airplane', in lvis_1203 it is 'air conditioner'"):
        load_records(row, str(tmp_path))
    lvis(tmp_path, [{"id": 1, "name": "spray can"}, {"id": 162, "name": "bull"}, {"id": 1203, "name": "my own"}])
    assert len(load_records(row, str(tmp_path), allow_incomplete=True)) == 2
    assert "1 of 3 category names are not LVIS v1's, first 1203 'my own'" in caplog.text


@pytest.mark.parametrize("split", ["val"])
def test_segments_that_coco_does_not_list(tmp_path, capsys, split) -> None:
    """A PNG and a JSON file of different downloads: no label map is made of it."""
    MINIATURES["coco panoptic"].build(tmp_path)
    path = tmp_path / f"coco/annotations/panoptic_{split}2017.json"
    entries = json.loads(path.read_text())
    entries["annotations"][0]["segments_info"].pop()
    write_json(path, entries)
    message = failure(capsys, MINIATURES["coco panoptic"], tmp_path, "--partial")
    assert "000000000009.png: segment 300 and 0 others are not in the JSON file" in message
    assert not (tmp_path / f"coco/panoptic_semseg_{split}2017/000000000009.png").exists()


def test_archives_that_are_not_unpacked(tmp_path, capsys) -> None:
    MINIATURES["coco panoptic"].build(tmp_path)
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / f"coco/panoptic_{split}2017")
    (tmp_path / "coco/annotations/panoptic_val2017.zip").write_bytes(b"PK")
    message = failure(capsys, MINIATURES["coco panoptic"], tmp_path)
    assert "coco/panoptic_val2017: missing" in message and "annotations/panoptic_val2017.zip is there" in message
    (tmp_path / "coco/annotations/panoptic_val2017.zip").rename(tmp_path / "coco/panoptic_val2017.zip")
    message = failure(capsys, MINIATURES["coco panoptic"], tmp_path)
    assert "coco/panoptic_val2017: missing (panoptic_val2017.zip is not unpacked)" in message
