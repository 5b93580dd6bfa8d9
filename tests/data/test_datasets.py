"""Dataset rows, registration and loaders, on tiny datasets in the real formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from maskclippp.data.datasets import DATASETS, get_dataset, get_metadata, register_all
from maskclippp.data.datasets.mess import is_mess
from maskclippp.data.datasets.palette import palette
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.utils.errors import UserError

from .conftest import write_picture

EXPECTED = {  # name: classes, evaluator type, ignore label
    "toy_sem_seg_train": (60, "sem_seg", 255),
    "toy_panoptic_val": (96, "ade20k_panoptic_seg", 255),
    "toy_sem_seg_test": (96, "sem_seg", 255),
    "openvocab_ade20k_sem_seg_val": (150, "sem_seg", 255),
    "openvocab_ade20k_panoptic_train": (150, "ade20k_panoptic_seg", 255),
    "openvocab_ade20k_full_sem_seg_val": (847, "sem_seg", 65535),
    "openvocab_coco_2017_train_stuff_sem_seg": (171, "sem_seg", 255),
    "openvocab_coco_2017_val_panoptic_with_sem_seg": (133, "coco_panoptic_seg", 255),
    "openvocab_pascal_ctx59_sem_seg_val": (59, "sem_seg", 255),
    "openvocab_pascal_ctx459_sem_seg_val": (459, "sem_seg", 65535),
    "openvocab_pascal20_sem_seg_val": (20, "sem_seg", 255),
    "openvocab_pascal21_sem_seg_train": (21, "sem_seg", 255),
    "openvocab_cityscapes_fine_panoptic_val": (19, "cityscapes_panoptic_seg", 255),
    "openvocab_mapillary_vistas_panoptic_val": (65, "mapillary_vistas_panoptic_seg", 65),
}


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


@pytest.mark.parametrize("name", EXPECTED)
def test_published_rows(name: str) -> None:
    register_all()
    metadata = get_metadata(name)
    assert (len(metadata.stuff_classes), metadata.evaluator_type, metadata.ignore_label) == EXPECTED[name]
    assert len(metadata.stuff_colors) == len(metadata.stuff_classes)


def test_every_row_has_a_vocabulary_and_a_preparation(root_dir) -> None:
    for row in DATASETS.values():
        assert is_mess(row) or len(load_vocabulary(row.vocabulary)) > 0
        assert row.preparation == "" or row.preparation.startswith("python ")
        script = row.preparation.split()[1] if row.preparation else ""
        assert not script.endswith(".py") or (root_dir / script).exists()


def test_panoptic_metadata() -> None:
    register_all("/data")
    coco = get_metadata("openvocab_coco_2017_val_panoptic_with_sem_seg")
    assert list(coco.thing_dataset_id_to_contiguous_id.values()) == list(range(80))
    assert coco.stuff_dataset_id_to_contiguous_id[200] == 132 and len(coco.stuff_dataset_id_to_contiguous_id) == 133
    assert coco.thing_classes[0].startswith("person,child") and len(coco.thing_classes) == 80
    assert coco.json_file == "/data/coco/annotations/instances_val2017.json"
    cityscapes = get_metadata("openvocab_cityscapes_fine_panoptic_val")
    assert cityscapes.thing_classes == cityscapes.stuff_classes
    assert list(cityscapes.thing_dataset_id_to_contiguous_id.items())[::7] == [(24, 11), (33, 18)]
    assert list(cityscapes.stuff_dataset_id_to_contiguous_id.values()) == list(range(11))
    assert coco.contiguous_id_to_class_name == coco.stuff_classes
    assert cityscapes.json_file is None and cityscapes.label_divisor == 1000


@pytest.mark.parametrize(
    ("name", "count", "kind", "last_id"),
    [
        ("openvocab_ade20k_instance_val", 100, "coco", 149),
        ("openvocab_coco_2017_train", 80, "coco", 90),
        ("coco_instance_train_base48", 48, "coco", 90),
        ("coco_instance_val_novel17", 17, "coco", 87),
        ("coco_instance_val_instances65", 65, "coco", 90),
        ("openvocab_lvis_1203_instance_val", 1203, "lvis", 1203),
    ],
)
def test_instance_metadata(name: str, count: int, kind: str, last_id: int) -> None:
    """Ids of the files lead to positions among the things; there are no stuff classes."""
    register_all()
    metadata = get_metadata(name)
    ids = metadata.thing_dataset_id_to_contiguous_id
    assert list(ids.values()) == list(range(count)) and list(ids)[-1] == last_id
    assert (len(metadata.thing_classes), metadata.evaluator_type) == (count, kind)
    assert metadata.get("stuff_classes", None) is None and metadata.get("ignore_label", None) is None


def test_id_maps_and_published_colours() -> None:
    """COCO-Stuff's label maps hold contiguous ids, and so does its published id map."""
    register_all()
    stuff = get_metadata("openvocab_coco_2017_val_stuff_sem_seg")
    assert stuff.stuff_dataset_id_to_contiguous_id == {index: index for index in range(171)}
    mapillary = get_metadata("openvocab_mapillary_vistas_panoptic_val")
    assert mapillary.stuff_dataset_id_to_contiguous_id[65] == 64 and len(mapillary.thing_classes) == 65
    coco = get_metadata("openvocab_coco_2017_val_panoptic_with_sem_seg")
    assert coco.stuff_colors[0] == (220, 20, 60)
    assert get_metadata("coco_instance_val_novel17").thing_colors[0] == (106, 0, 228)
    assert get_metadata("openvocab_cityscapes_fine_panoptic_val").stuff_colors[0] == (128, 64, 128)
    voc = get_metadata("openvocab_pascal21_sem_seg_val")
    assert voc.stuff_colors[:2] == [(0, 0, 0), (128, 0, 0)]
    assert get_metadata("openvocab_pascal20_sem_seg_val").stuff_colors == voc.stuff_colors[1:]


def test_registering_is_lazy_repeatable_and_follows_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/somewhere")
    register_all()
    first = get_metadata("toy_sem_seg_val")
    register_all()
    assert get_metadata("toy_sem_seg_val") is first
    assert first.image_root == str(Path.home() / "somewhere/toy/images/validation")
    register_all("/elsewhere")
    assert get_metadata("toy_sem_seg_val").image_root == "/elsewhere/toy/images/validation"
    assert set(DATASETS) <= set(DatasetCatalog.list())


def test_importing_registers_nothing() -> None:
    code = (
        "import maskclippp.data.datasets; from detectron2.data import DatasetCatalog; "
        "assert 'toy_sem_seg_val' not in DatasetCatalog.list()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_semantic_records(tiny_ade) -> None:
    register_all(str(tiny_ade))
    records = get_dataset("openvocab_ade20k_sem_seg_val", allow_incomplete=True)
    assert [Path(record["file_name"]).name for record in records] == ["a.jpg", "b.jpg"]
    assert [Path(record["sem_seg_file_name"]).name for record in records] == ["a.png", "b.png"]
    assert [record["names"] for record in records] == [["a.jpg", "a"], ["b.jpg", "b"]]


def test_panoptic_records(tiny_ade) -> None:
    register_all(str(tiny_ade))
    record = get_dataset("openvocab_ade20k_panoptic_val", allow_incomplete=True)[1]
    root = tiny_ade / "ADEChallengeData2016"
    assert record["file_name"] == str(root / "images/validation/b.jpg") and record["image_id"] == "b"
    assert record["pan_seg_file_name"] == str(root / "ade20k_panoptic_val/b.png")
    assert record["sem_seg_file_name"] == str(root / "annotations_detectron2/validation/b.png")
    assert [(s["category_id"], s["isthing"]) for s in record["segments_info"]] == [(0, False), (7, True)]


def test_cityscapes_names(tmp_path) -> None:
    root = tmp_path / "cityscapes"
    for name in (
        "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png",
        "gtFine/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png",
        "gtFine/cityscapes_panoptic_val/ulm_000000_000019_gtFine_panoptic.png",
    ):
        write_picture(root / name)
    annotation = {
        "image_id": "ulm_000000_000019",
        "file_name": "ulm_000000_000019_gtFine_panoptic.png",
        "segments_info": [{"id": 7, "category_id": 7}, {"id": 24000, "category_id": 24}],
    }
    (root / "gtFine/cityscapes_panoptic_val.json").write_text(json.dumps({"annotations": [annotation]}))
    register_all(str(tmp_path))
    (record,) = get_dataset("openvocab_cityscapes_fine_panoptic_val", allow_incomplete=True)
    assert record["file_name"].endswith("val/ulm/ulm_000000_000019_leftImg8bit.png")
    assert [(s["category_id"], s["isthing"]) for s in record["segments_info"]] == [(0, False), (11, True)]


def test_instance_records(tiny_toy_instances) -> None:
    register_all(str(tiny_toy_instances))
    (record,) = get_dataset("toy_instance_val")
    vocabulary = load_vocabulary("toy_96")
    assert record["annotations"][0]["category_id"] == sum(vocabulary.is_thing[: vocabulary.ids.index(1)])
    assert record["image_id"] == 5 and record["height"] == 12


def test_missing_parts_name_dataset_path_and_preparation(tiny_ade) -> None:
    register_all(str(tiny_ade))
    expected = r"dataset 'openvocab_ade20k_sem_seg_train': no folder of images .*images/training; make it with `python"
    with pytest.raises(UserError, match=expected):
        get_dataset("openvocab_ade20k_sem_seg_train")
    with pytest.raises(UserError, match=r"no panoptic file .*ade20k_panoptic_train\.json"):
        get_dataset("openvocab_ade20k_panoptic_train")
    with pytest.raises(UserError, match=r"no instance file .*toy/instance_val\.json; .*make_toy_world\.py"):
        get_dataset("toy_instance_val")
    labels = tiny_ade / "ADEChallengeData2016/annotations_detectron2/validation"
    (labels / "a.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 label maps are missing, first .*annotations_detectron2/validation/a"):
        get_dataset("openvocab_ade20k_panoptic_val")
    (labels / "b.png").rename(labels / "z.png")
    with pytest.raises(UserError, match="no label map in .* has the name of a"):
        get_dataset("openvocab_ade20k_sem_seg_val")
    (labels / "z.png").unlink()
    with pytest.raises(UserError, match=r"no \*\.png label map in"):
        get_dataset("openvocab_ade20k_sem_seg_val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "not a COCO panoptic file: it has no list 'annotations'"),
        ({"annotations": []}, "has no annotations"),
        (
            {"annotations": [{"image_id": 3, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 999}]}]},
            "annotation 0, image 3, segment 0: category_id 999 of segment 1 is not in the vocabulary",
        ),
    ],
)
def test_broken_panoptic_files(tiny_ade, content: dict, message: str) -> None:
    (tiny_ade / "ADEChallengeData2016/ade20k_panoptic_val.json").write_text(json.dumps(content))
    register_all(str(tiny_ade))
    with pytest.raises(UserError, match=message):
        get_dataset("openvocab_ade20k_panoptic_val")


def test_broken_instance_files(tiny_toy_instances) -> None:
    path = tiny_toy_instances / "toy/instance_val.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = content["categories"][0]["id"] = 999
    path.write_text(json.dumps(content))
    register_all(str(tiny_toy_instances))
    with pytest.raises(UserError, match="image 5: category_id 999 is not a thing"):
        get_dataset("toy_instance_val")
    path.write_text("[]")
    with pytest.raises(UserError, match="not a COCO instance file"):
        get_dataset("toy_instance_val")


def test_unknown_dataset() -> None:
    with pytest.raises(UserError, match="no dataset is called 'toy_semseg_val'; did you mean toy_sem_seg_val"):
        get_dataset("toy_semseg_val")


def test_palette_is_distinct_and_starts_like_pascal_voc() -> None:
    assert palette(3) == [(128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert len(set(palette(1300))) == 1300
