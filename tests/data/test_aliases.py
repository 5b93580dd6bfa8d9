"""Names of Mask2Former's and detectron2's base files for datasets of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES, COCO_CATEGORIES

from maskclippp.data.datasets import ALIASES, DATASETS, get_dataset, get_metadata, register_all
from maskclippp.utils.errors import UserError

from .conftest import write_picture

EXPECTED = {  # classes, things, evaluator type
    "coco_2017_{}_panoptic_with_sem_seg": (133, 80, "coco_panoptic_seg"),
    "coco_2017_{}": (0, 80, "coco"),
    "ade20k_sem_seg_{}": (150, 0, "sem_seg"),
    "ade20k_panoptic_{}": (150, 100, "ade20k_panoptic_seg"),
    "ade20k_instance_{}": (0, 100, "coco"),
    "ade20k_full_sem_seg_{}": (847, 0, "sem_seg"),
    "cityscapes_fine_panoptic_{}": (19, 19, "cityscapes_panoptic_seg"),
    "mapillary_vistas_panoptic_{}": (65, 65, "mapillary_vistas_panoptic_seg"),
    "mapillary_vistas_sem_seg_{}": (65, 0, "sem_seg"),
    "lvis_v1_{}": (0, 1203, "lvis"),
}


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


def facts(name: str) -> dict:
    return {key: value for key, value in get_metadata(name).as_dict().items() if key != "name"}


def test_names_resolve_with_classes_and_evaluator_of_the_table() -> None:
    register_all()
    found = set()
    for pattern, expected in EXPECTED.items():
        for split in ("train", "val"):
            name = pattern.format(split)
            if name not in ALIASES:
                assert split == "train" and pattern.startswith(("mapillary", "lvis"))  # not in the table either
                continue
            metadata = get_metadata(name)
            counts = [len(metadata.get(key, None) or ()) for key in ("stuff_classes", "thing_classes")]
            assert (*counts, metadata.evaluator_type) == expected, name
            found.add(name)
    assert found == set(ALIASES) and not found & set(DATASETS)


def test_an_alias_has_all_facts_of_its_row() -> None:
    register_all()
    for name, row in ALIASES.items():
        if row.name != "mapillary_vistas_sem_seg_val" and f"openvocab_{name}" in DATASETS:
            assert facts(name) == facts(f"openvocab_{name}")
    panoptic, semantic = facts("mapillary_vistas_panoptic_val"), facts("mapillary_vistas_sem_seg_val")
    assert semantic["stuff_classes"] == panoptic["stuff_classes"] and semantic["ignore_label"] == 65


def test_the_order_of_classes_is_detectron2_s() -> None:
    register_all()
    ade = get_metadata("ade20k_sem_seg_val").stuff_classes
    for theirs, ours in zip(ADE20K_SEM_SEG_CATEGORIES, ade, strict=True):
        assert any(name.strip() in ours for name in theirs.split(",")), (theirs, ours)
    coco = get_metadata("coco_2017_val_panoptic_with_sem_seg")
    ids = sorted(coco.stuff_dataset_id_to_contiguous_id, key=coco.stuff_dataset_id_to_contiguous_id.get)
    assert ids == [category["id"] for category in COCO_CATEGORIES]
    things = [category["id"] for category in COCO_CATEGORIES if category["isthing"]]
    assert list(get_metadata("coco_2017_val").thing_dataset_id_to_contiguous_id) == things


def test_records_are_those_of_the_table(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    for folder, suffix in (("images", "jpg"), ("annotations_detectron2", "png")):
        (root / folder / "validation").mkdir(parents=True)
        write_picture(root / folder / "validation" / f"a.{suffix}")
    register_all(str(tmp_path))
    names = ("openvocab_ade20k_sem_seg_val", "ade20k_sem_seg_val")
    ours, alias = (get_dataset(name, allow_incomplete=True) for name in names)
    assert ours == alias and len(ours) == 1
    with pytest.raises(UserError, match="dataset 'ade20k_sem_seg_val': only 1 of 2000 pictures can be used"):
        DatasetCatalog.get("ade20k_sem_seg_val")
    assert MetadataCatalog.get("ade20k_sem_seg_val").image_root == str(root / "images" / "validation")


def test_a_name_that_is_nobody_s_is_met_with_similar_ones() -> None:
    with pytest.raises(UserError, match="no dataset is called 'ade20k_semseg_val'; did you mean ade20k_sem_seg_val"):
        get_metadata("ade20k_semseg_val")
    with pytest.raises(UserError, match="did you mean.*mapillary_vistas_panoptic_val"):
        get_metadata("mapillary_vistas_panoptic_train")
