"""Miniatures of the official downloads: their folder names and file formats, with a few tiny pictures."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.io import savemat

from maskclippp.data.preparation import ade20k, ade20k_full, cityscapes, coco, mapillary, pascal
from maskclippp.data.preparation.options import Options

SIZE_HW = (24, 32)


@dataclass(frozen=True)
class Miniature:
    """A download and what is done with it.

    Attributes:
        build: writes the download below a datasets root.
        prepare: the preparation.
        rows: registered names that can be read afterwards.
        files: inputs without which the download is incomplete, and which are read.
        outputs: what is made.
    """

    build: Callable[[Path], None]
    prepare: Callable[[Options], None]
    rows: tuple[str, ...]
    files: tuple[str, ...]
    outputs: tuple[str, ...] = field(default=())


def picture(path: Path, size_hw: tuple[int, int] = SIZE_HW) -> None:
    """Save random pixels; the same ones for the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(path.name.encode()))
    Image.fromarray(rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)).save(path)


def labels(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    """Save a label map; mode "P" adds a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(path)


def quarters(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """A map (24, 32) of four rectangles; the pixel at the top left is that of the last."""
    array = np.empty(SIZE_HW, dtype=dtype)
    array[:12, :16], array[:12, 16:], array[12:, :16], array[12:, 16:] = values
    array[0, 0] = values[3]
    return array


def id_colors(ids: np.ndarray) -> np.ndarray:
    """Write ids as R + 256 G + 65536 B."""
    ids = ids.astype(np.int64)
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def write_json(path: Path, content: Any) -> None:
    """Save as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def build_ade20k(root: Path) -> None:
    """ADE20K-150 with SceneParse classes (0: other) and the instance challenge's classes in R, instances in G."""
    base = root / "ADEChallengeData2016"
    for folder, split in (("training", "train"), ("validation", "val")):
        for number in (1, 2):
            stem = f"ADE_{split}_{number:08d}"
            picture(base / f"images/{folder}/{stem}.jpg")
            # wall (1), bed (8, a thing), sky (3) and nothing (0)
            labels(base / f"annotations/{folder}/{stem}.png", quarters(1, 8, 3, 0))
            instances = np.zeros((*SIZE_HW, 3), np.uint8)
            instances[2:8, 10:20] = (1, 1, 0)  # a bed over wall and bed
            instances[14:20, 4:9] = (4, 2, 0)  # a person in the sky
            instances[14:20, 20:28] = (4, 3, 0)  # and another
            labels(base / f"annotations_instance/{folder}/{stem}.png", instances)


def build_coco(root: Path) -> None:
    """COCO 2017: pictures, panoptic and instance annotations, COCO-Stuff's pixel maps."""
    base = root / "coco"
    for split in ("train", "val"):
        panoptic, images, instances = [], [], []
        for number in (9, 25):
            stem = f"{number:012d}"
            picture(base / f"{split}2017/{stem}.jpg")
            ids = quarters(1000, 70000, 300, 0, dtype=np.int64)
            labels(base / f"panoptic_{split}2017/{stem}.png", id_colors(ids))
            # person, a crowd of cars, sky-other-merged; raw stuff values: person, street sign (unused), wood, nothing
            segments = [(1000, 1, 0), (70000, 3, 1), (300, 187, 0)]
            panoptic.append(
                {
                    "image_id": number,
                    "file_name": f"{stem}.png",
                    "segments_info": [_segment(ids == i, i, category, crowd) for i, category, crowd in segments],
                }
            )
            labels(base / f"stuffthingmaps/{split}2017/{stem}.png", quarters(0, 11, 181, 255))
            images.append({"id": number, "file_name": f"{stem}.jpg", "height": SIZE_HW[0], "width": SIZE_HW[1]})
        for number, (image, category) in enumerate([(9, 1), (9, 5), (25, 78)], start=1):
            instances.append({"id": number, "image_id": image, **_instance(category)})
        write_json(
            base / f"annotations/panoptic_{split}2017.json",
            {"images": images, "annotations": panoptic, "categories": _coco_categories("panoptic_133")},
        )
        write_json(
            base / f"annotations/instances_{split}2017.json",
            {
                "info": {"year": 2017},
                "licenses": [],
                "images": images,
                "annotations": instances,
                "categories": _coco_categories("things_80"),
            },
        )


def build_lvis(root: Path) -> None:
    """LVIS v1, validation: its file and the COCO pictures that it names."""
    images = []
    for number, folder in ((9, "train2017"), (25, "val2017")):
        picture(root / f"coco/{folder}/{number:012d}.jpg")
        images.append(
            {
                "id": number,
                "coco_url": f"http://images.cocodataset.org/{folder}/{number:012d}.jpg",
                "height": SIZE_HW[0],
                "width": SIZE_HW[1],
                "neg_category_ids": [3],
                "not_exhaustive_category_ids": [],
            }
        )
    annotation = {"bbox": [2, 2, 8, 8], "area": 64, "segmentation": [[2, 2, 10, 2, 10, 10, 2, 10]]}
    annotations = [{"id": 1, "image_id": 25, "category_id": 1203, **annotation}]
    categories = [{**category, "frequency": "f"} for category in _categories("lvis_1203")]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "lvis/lvis_v1_val.json", content)


def build_ade20k_full(root: Path) -> None:
    """ADE20K full: the index, pictures, one of them large, and label pictures (object = R / 10 * 256 + G)."""
    base = root / "ADE20K_2021_17_01"
    wall, sky, unknown = (110, 162, 7), (90, 116, 7), (10, 1, 0)  # objects 2978, 2420 and one of no class
    stems = {"ADE_train_00000001": SIZE_HW, "ADE_val_00000001": (520, 780), "ADE_val_00000002": SIZE_HW}
    folders = []
    for stem, (height, width) in stems.items():
        folder = f"ADE20K_2021_17_01/images/ADE/{'training' if 'train' in stem else 'validation'}/urban/street"
        picture(root / folder / f"{stem}.jpg", (height, width))
        colors = np.empty((height, width, 3), np.uint8)
        colors[:], colors[: height // 2], colors[0, 0] = wall, sky, unknown
        labels(root / folder / f"{stem}_seg.png", colors)
        folders.append(folder)
    index = {"filename": [f"{stem}.jpg" for stem in stems], "folder": folders, "objectPresence": np.zeros((3, 3))}
    (base / "index_ade20k.pkl").write_bytes(pickle.dumps(index))


def build_ade20k_full_without_index(root: Path) -> None:
    """ADE20K full without its index; every file that counts is below images/ADE."""
    build_ade20k_full(root)
    (root / "ADE20K_2021_17_01/index_ade20k.pkl").unlink()


def build_context(root: Path) -> None:
    """PASCAL Context: VOC 2010 pictures, lists and MATLAB label maps of ids 0 to 459."""
    base = root / "VOCdevkit/VOC2010"
    for split, stems in (("train", ["2008_000002", "2008_000003"]), ("val", ["2008_000007"])):
        for stem in stems:
            picture(base / f"JPEGImages/{stem}.jpg")
            (base / "trainval").mkdir(exist_ok=True)
            array = quarters(2, 397, 1, 0, dtype=np.uint16)  # aeroplane, table, accordion, nothing
            savemat(base / f"trainval/{stem}.mat", {"LabelMap": array})
        listed = base / f"ImageSets/Main/{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{stem}\n" for stem in stems))


def build_voc(root: Path) -> None:
    """PASCAL VOC 2012: pictures, palette PNGs and lists."""
    base = root / "VOCdevkit/VOC2012"
    for split, stems in (("train", ["2007_000032"]), ("val", ["2007_000033", "2007_000042"])):
        for stem in stems:
            picture(base / f"JPEGImages/{stem}.jpg")
            labels(base / f"SegmentationClass/{stem}.png", quarters(0, 1, 20, 255), mode="P")
        listed = base / f"ImageSets/Segmentation/{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{stem}\n" for stem in stems))


def build_voc_in_colours(root: Path) -> None:
    """PASCAL VOC 2012 with label maps in the colours of its palette."""
    build_voc(root)
    background, aeroplane, monitor, void = (0, 0, 0), (128, 0, 0), (0, 64, 128), (224, 224, 192)
    for path in (root / "VOCdevkit/VOC2012/SegmentationClass").iterdir():
        ids = quarters(0, 1, 2, 3)
        labels(path, np.array([background, aeroplane, monitor, void], np.uint8)[ids])


def build_cityscapes(root: Path) -> None:
    """Cityscapes fine: pictures, label and instance ids."""
    base = root / "cityscapes"
    for split, city in (("train", "aachen"), ("val", "ulm")):
        for number in (19, 20):
            stem = f"{city}_000000_{number:06d}"
            picture(base / f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png")
            # road, cars, a caravan (no class), nothing; one car told apart and a group
            labels(base / f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png", quarters(7, 26, 29, 0))
            instances = quarters(7, 26, 29000, 0, dtype=np.uint16)
            instances[2:6, 20:26] = 26001
            labels(base / f"gtFine/{split}/{city}/{stem}_gtFine_instanceIds.png", instances)


def build_cityscapes_of_instances(root: Path) -> None:
    """Cityscapes fine with instance ids only."""
    build_cityscapes(root)
    for path in (root / "cityscapes/gtFine").glob("*/*/*_labelIds.png"):
        path.unlink()


def build_mapillary_v2(root: Path) -> None:
    """The archive of Mapillary Vistas v2.0: annotations of v1.2 and of v2.0 in folders of their own."""
    build_mapillary(root)
    base = root / "mapillary_vistas/validation"
    for part in ("labels", "panoptic"):
        (base / "v1.2").mkdir(exist_ok=True)
        (base / part).rename(base / "v1.2" / part)
        labels(base / "v2.0" / part / "zz_1A.png", quarters(0, 100, 123, 7))
    write_json(base / "v2.0/panoptic/panoptic_2020.json", {})
    write_json(root / "mapillary_vistas/config_v1.2.json", {})


def build_mapillary(root: Path) -> None:
    """Mapillary Vistas v1.2, validation; the JSON file lies with the panoptic PNGs."""
    base = root / "mapillary_vistas/validation"
    annotations, images = [], []
    for stem in ("-0wCq", "zz_1A"):
        picture(base / f"images/{stem}.jpg")
        labels(base / f"labels/{stem}.png", quarters(0, 2, 64, 65), mode="P")
        ids = quarters(5, 600, 70000, 0, dtype=np.int64)
        labels(base / f"panoptic/{stem}.png", id_colors(ids))
        segments = [_segment(ids == i, i, category, 0) for i, category in ((5, 1), (600, 3), (70000, 65))]
        annotations.append({"image_id": stem, "file_name": f"{stem}.png", "segments_info": segments})
        images.append({"id": stem, "file_name": f"{stem}.jpg", "height": SIZE_HW[0], "width": SIZE_HW[1]})
    content = {"images": images, "annotations": annotations, "categories": _categories("mapillary_vistas_65")}
    write_json(base / "panoptic/panoptic_2018.json", content)


def _segment(mask: np.ndarray, segment_id: int, category_id: int, is_crowd: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "id": segment_id,
        "category_id": category_id,
        "iscrowd": is_crowd,
        "area": int(mask.sum()),
        "bbox": [int(side) for side in box],
    }


def _instance(category_id: int) -> dict[str, Any]:
    polygon = [2, 2, 12, 2, 12, 10, 2, 10]
    rle = coco_mask.frPyObjects([polygon], *SIZE_HW)
    return {
        "category_id": category_id,
        "bbox": [2, 2, 10, 8],
        "area": float(coco_mask.area(rle)[0]),
        "iscrowd": 0,
        "segmentation": [polygon],
    }


def _coco_categories(name: str) -> list[dict[str, Any]]:
    return _categories(f"coco_{name}")


def _categories(vocabulary_name: str) -> list[dict[str, Any]]:
    from maskclippp.data.vocabularies import load_vocabulary

    vocabulary = load_vocabulary(vocabulary_name)
    return [
        {"id": class_id, "name": names[0], "isthing": int(thing), "supercategory": "any"}
        for class_id, names, thing in zip(vocabulary.ids, vocabulary.names, vocabulary.is_thing, strict=True)
    ]


def _both(name: str) -> tuple[str, str]:
    return name.format("train"), name.format("val")


ADE, CITY = "ADEChallengeData2016", "cityscapes/gtFine"
MINIATURES = {
    "ade20k semantic": Miniature(
        build_ade20k,
        ade20k.prepare_semantic,
        _both("openvocab_ade20k_sem_seg_{}"),
        (f"{ADE}/annotations/validation/ADE_val_00000002.png",),
        (f"{ADE}/annotations_detectron2/validation/ADE_val_00000001.png",),
    ),
    "ade20k panoptic": Miniature(
        build_ade20k,
        ade20k.prepare_panoptic,
        (*_both("openvocab_ade20k_panoptic_{}"), *_both("openvocab_ade20k_instance_{}")),
        (f"{ADE}/annotations_instance/validation/ADE_val_00000002.png",),
        (f"{ADE}/ade20k_panoptic_val/ADE_val_00000001.png", f"{ADE}/ade20k_panoptic_val.json"),
    ),
    "ade20k instance": Miniature(
        build_ade20k,
        ade20k.prepare_instance,
        _both("openvocab_ade20k_instance_{}"),
        (f"{ADE}/annotations_instance/validation/ADE_val_00000001.png",),
        (f"{ADE}/ade20k_instance_val.json",),
    ),
    "ade20k full": Miniature(
        build_ade20k_full,
        ade20k_full.prepare,
        _both("openvocab_ade20k_full_sem_seg_{}"),
        ("ADE20K_2021_17_01/images/ADE/validation/urban/street/ADE_val_00000002_seg.png",),
        ("ADE20K_2021_17_01/annotations_detectron2/validation/ADE_val_00000001.tif",),
    ),
    "coco panoptic": Miniature(
        build_coco,
        coco.prepare_semantic_from_panoptic,
        _both("openvocab_coco_2017_{}_panoptic_with_sem_seg"),
        ("coco/panoptic_val2017/000000000025.png",),
        ("coco/panoptic_semseg_val2017/000000000009.png",),
    ),
    "coco stuff": Miniature(
        build_coco,
        coco.prepare_stuff,
        _both("openvocab_coco_2017_{}_stuff_sem_seg"),
        ("coco/stuffthingmaps/val2017/000000000025.png",),
        ("coco/stuffthingmaps_detectron2/val2017/000000000009.png",),
    ),
    "coco class splits": Miniature(
        build_coco,
        coco.prepare_class_splits,
        (
            *_both("coco_instance_{}_base48"),
            *_both("coco_instance_{}_novel17"),
            *_both("coco_instance_{}_instances65"),
            *_both("openvocab_coco_2017_{}"),
        ),
        ("coco/annotations/instances_val2017.json",),
        ("coco/annotations/ov_split_48_17/instances_val2017_seen48.json",),
    ),
    "ade20k full without index": Miniature(
        build_ade20k_full_without_index,
        ade20k_full.prepare,
        _both("openvocab_ade20k_full_sem_seg_{}"),
        ("ADE20K_2021_17_01/images/ADE/validation/urban/street/ADE_val_00000002_seg.png",),
        ("ADE20K_2021_17_01/annotations_detectron2/validation/ADE_val_00000001.tif",),
    ),
    "pascal context 59": Miniature(
        build_context,
        pascal.prepare_context_59,
        _both("openvocab_pascal_ctx59_sem_seg_{}"),
        ("VOCdevkit/VOC2010/trainval/2008_000003.mat",),
        ("pascal_ctx_d2/annotations_ctx59/training/2008_000002.png",),
    ),
    "pascal context 459": Miniature(
        build_context,
        pascal.prepare_context_459,
        _both("openvocab_pascal_ctx459_sem_seg_{}"),
        ("VOCdevkit/VOC2010/trainval/2008_000003.mat",),
        ("pascal_ctx_d2/annotations_ctx459/training/2008_000002.tif",),
    ),
    "pascal voc": Miniature(
        build_voc,
        pascal.prepare_voc,
        (*_both("openvocab_pascal20_sem_seg_{}"), *_both("openvocab_pascal21_sem_seg_{}")),
        ("VOCdevkit/VOC2012/SegmentationClass/2007_000042.png",),
        ("pascal_voc_d2/annotations_pascal20/validation/2007_000033.png",),
    ),
    "pascal voc in colours": Miniature(
        build_voc_in_colours,
        pascal.prepare_voc,
        (*_both("openvocab_pascal20_sem_seg_{}"), *_both("openvocab_pascal21_sem_seg_{}")),
        ("VOCdevkit/VOC2012/SegmentationClass/2007_000042.png",),
        ("pascal_voc_d2/annotations_pascal20/validation/2007_000033.png",),
    ),
    "cityscapes of instance ids": Miniature(
        build_cityscapes_of_instances,
        cityscapes.prepare,
        _both("openvocab_cityscapes_fine_panoptic_{}"),
        (f"{CITY}/val/ulm/ulm_000000_000020_gtFine_instanceIds.png",),
        (
            f"{CITY}/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png",
            f"{CITY}/cityscapes_panoptic_val/ulm_000000_000019_gtFine_panoptic.png",
        ),
    ),
    "cityscapes": Miniature(
        build_cityscapes,
        cityscapes.prepare,
        _both("openvocab_cityscapes_fine_panoptic_{}"),
        (f"{CITY}/val/ulm/ulm_000000_000020_gtFine_instanceIds.png",),
        (
            f"{CITY}/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png",
            f"{CITY}/cityscapes_panoptic_val/ulm_000000_000019_gtFine_panoptic.png",
        ),
    ),
    "mapillary": Miniature(
        build_mapillary,
        mapillary.prepare,
        ("openvocab_mapillary_vistas_panoptic_val",),
        ("mapillary_vistas/validation/labels/zz_1A.png",),
        ("mapillary_vistas/validation/panoptic_2018.json",),
    ),
    "mapillary in the archive of v2.0": Miniature(
        build_mapillary_v2,
        mapillary.prepare,
        ("openvocab_mapillary_vistas_panoptic_val",),
        ("mapillary_vistas/validation/v1.2/labels/zz_1A.png",),
        (
            "mapillary_vistas/validation/panoptic_2018.json",
            "mapillary_vistas/validation/labels/zz_1A.png",
            "mapillary_vistas/validation/panoptic/zz_1A.png",
        ),
    ),
}
"""By name; at least one for each preparation."""
