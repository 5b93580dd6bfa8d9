"""The datasets as rows: where their files are, which vocabulary they use, how they are made. Nothing here reads a file.

All folders and files are relative to the datasets root (environment variable DETECTRON2_DATASETS, else ``datasets``).
"""

from __future__ import annotations

from collections.abc import Iterator

from . import mess
from .row import DatasetRow

_LONG_SPLIT = {"train": "training", "val": "validation", "test": "test"}
_TOY_SCRIPT = "python tools/make_toy_world.py"

COCO_OVS_PARTS = {"base48": "seen48", "novel17": "unseen17", "instances65": "instances65"}
"""MasQCLIP's open-vocabulary parts of COCO: as registered, and as in the names of the instance files."""


def _toy() -> Iterator[DatasetRow]:
    for split, folder in _LONG_SPLIT.items():
        vocabulary = "toy_60" if split == "train" else "toy_96"
        images = f"toy/images/{folder}"
        labels = f"toy/annotations_detectron2/{folder}"
        instances = f"toy/instance_{split}.json"
        yield DatasetRow(
            name=f"toy_sem_seg_{split}",
            kind="sem_seg",
            vocabulary=vocabulary,
            evaluator_type="sem_seg",
            image_root=images,
            sem_seg_root=labels,
            preparation=_TOY_SCRIPT,
        )
        yield DatasetRow(
            name=f"toy_panoptic_{split}",
            kind="panoptic",
            vocabulary=vocabulary,
            evaluator_type="ade20k_panoptic_seg",
            image_root=images,
            sem_seg_root=labels,
            panoptic_root=f"toy/panoptic_{split}",
            panoptic_json=f"toy/panoptic_{split}.json",
            instances_json=instances,
            preparation=_TOY_SCRIPT,
        )
        yield DatasetRow(
            name=f"toy_instance_{split}",
            kind="instance",
            vocabulary=vocabulary,
            evaluator_type="coco",
            image_root=images,
            instances_json=instances,
            preparation=_TOY_SCRIPT,
        )


def _ade20k(split: str) -> Iterator[DatasetRow]:
    root = "ADEChallengeData2016"
    num_images = {"train": 20210, "val": 2000}[split]
    images = f"{root}/images/{_LONG_SPLIT[split]}"
    labels = f"{root}/annotations_detectron2/{_LONG_SPLIT[split]}"
    yield DatasetRow(
        name=f"openvocab_ade20k_sem_seg_{split}",
        kind="sem_seg",
        vocabulary="ade20k_150",
        evaluator_type="sem_seg",
        image_root=images,
        sem_seg_root=labels,
        preparation="python datasets/prepare_ade20k_sem_seg.py",
        num_images=num_images,
    )
    yield DatasetRow(
        name=f"openvocab_ade20k_panoptic_{split}",
        kind="panoptic",
        vocabulary="ade20k_150",
        evaluator_type="ade20k_panoptic_seg",
        image_root=images,
        sem_seg_root=labels,
        panoptic_root=f"{root}/ade20k_panoptic_{split}",
        panoptic_json=f"{root}/ade20k_panoptic_{split}.json",
        instances_json=f"{root}/ade20k_instance_{split}.json",
        preparation="python datasets/prepare_ade20k_pan_seg.py",
        num_images=num_images,
    )
    yield DatasetRow(
        name=f"openvocab_ade20k_instance_{split}",
        kind="instance",
        vocabulary="ade20k_150",
        evaluator_type="coco",
        image_root=images,
        instances_json=f"{root}/ade20k_instance_{split}.json",
        preparation="python datasets/prepare_ade20k_ins_seg.py",
        num_images=num_images,
    )
    full = "ADE20K_2021_17_01"
    yield DatasetRow(
        name=f"openvocab_ade20k_full_sem_seg_{split}",
        kind="sem_seg",
        vocabulary="ade20k_847",
        evaluator_type="sem_seg",
        image_root=f"{full}/images_detectron2/{_LONG_SPLIT[split]}",
        sem_seg_root=f"{full}/annotations_detectron2/{_LONG_SPLIT[split]}",
        ignore_label=65535,
        label_ext="tif",
        preparation="python datasets/prepare_ade20k_full_sem_seg.py",
        num_images={"train": 25574, "val": 2000}[split],
    )


def _coco(split: str) -> Iterator[DatasetRow]:
    images = f"coco/{split}2017"
    instances = f"coco/annotations/instances_{split}2017.json"
    num_images = {"train": 118287, "val": 5000}[split]
    yield DatasetRow(
        name=f"openvocab_coco_2017_{split}_stuff_sem_seg",
        kind="sem_seg",
        vocabulary="coco_stuff_171",
        evaluator_type="sem_seg",
        image_root=images,
        sem_seg_root=f"coco/stuffthingmaps_detectron2/{split}2017",
        labels_are_ids=True,
        preparation="python datasets/prepare_coco_stuff_sem_seg.py",
        num_images=num_images,
        num_left_out=7 if split == "train" else 0,  # pictures without any label
    )
    yield DatasetRow(
        name=f"openvocab_coco_2017_{split}_panoptic_with_sem_seg",
        kind="panoptic",
        vocabulary="coco_panoptic_133",
        evaluator_type="coco_panoptic_seg",
        image_root=images,
        sem_seg_root=f"coco/panoptic_semseg_{split}2017",
        panoptic_root=f"coco/panoptic_{split}2017",
        panoptic_json=f"coco/annotations/panoptic_{split}2017.json",
        instances_json=instances,
        colors="coco",
        preparation="python datasets/prepare_coco_semantic_annos_from_panoptic_annos.py",
        num_images=num_images,
    )
    yield DatasetRow(
        name=f"openvocab_coco_2017_{split}",
        kind="instance",
        vocabulary="coco_things_80",
        evaluator_type="coco",
        image_root=images,
        instances_json=instances,
        colors="coco",
        num_images=num_images,
    )
    for part, file_part in COCO_OVS_PARTS.items():
        yield DatasetRow(
            name=f"coco_instance_{split}_{part}",
            kind="instance",
            vocabulary=f"coco_{part}",
            evaluator_type="coco",
            image_root=images,
            instances_json=f"coco/annotations/ov_split_48_17/instances_{split}2017_{file_part}.json",
            colors="coco",
            preparation="python datasets/prepare_coco_ovs_splits.py",
        )


def _pascal(split: str) -> Iterator[DatasetRow]:
    folder = _LONG_SPLIT[split]
    counts = {"pascal_ctx_d2": {"train": 4998, "val": 5105}, "pascal_voc_d2": {"train": 1464, "val": 1449}}
    rows = [
        ("ctx59", "pascal_ctx_d2", "pascal_context_59", 255, "png", "prepare_pascal_ctx_sem_seg.py"),
        ("ctx459", "pascal_ctx_d2", "pascal_context_459", 65535, "tif", "prepare_pascal_ctx_full_sem_seg.py"),
        ("pascal20", "pascal_voc_d2", "pascal_voc_20", 255, "png", "prepare_pascal_voc_sem_seg.py"),
        ("pascal21", "pascal_voc_d2", "pascal_voc_21", 255, "png", "prepare_pascal_voc_sem_seg.py"),
    ]
    for short, root, vocabulary, ignore_label, label_ext, script in rows:
        title = f"pascal_{short}" if short.startswith("ctx") else short
        yield DatasetRow(
            name=f"openvocab_{title}_sem_seg_{split}",
            kind="sem_seg",
            vocabulary=vocabulary,
            evaluator_type="sem_seg",
            image_root=f"{root}/images/{folder}",
            sem_seg_root=f"{root}/annotations_{short}/{folder}",
            ignore_label=ignore_label,
            label_ext=label_ext,
            colors="voc21" if short == "pascal21" else "",
            preparation=f"python datasets/{script}",
            num_images=counts[root][split],
        )


def _cityscapes(split: str) -> Iterator[DatasetRow]:
    yield DatasetRow(
        name=f"openvocab_cityscapes_fine_panoptic_{split}",
        kind="panoptic",
        vocabulary="cityscapes_19",
        evaluator_type="cityscapes_panoptic_seg",
        image_root=f"cityscapes/leftImg8bit/{split}",
        sem_seg_root=f"cityscapes/gtFine/{split}",
        panoptic_root=f"cityscapes/gtFine/cityscapes_panoptic_{split}",
        panoptic_json=f"cityscapes/gtFine/cityscapes_panoptic_{split}.json",
        image_pattern="{folder}/{id}_leftImg8bit.png",
        sem_seg_pattern="{folder}/{id}_gtFine_labelTrainIds.png",
        all_are_things=True,
        stuff_ids_of_stuff_only=True,
        colors="cityscapes",
        preparation="python datasets/prepare_cityscapes.py",
        num_images={"train": 2975, "val": 500}[split],
    )


def _mapillary() -> Iterator[DatasetRow]:
    root = "mapillary_vistas/validation"
    yield DatasetRow(
        name="openvocab_mapillary_vistas_panoptic_val",
        kind="panoptic",
        vocabulary="mapillary_vistas_65",
        evaluator_type="mapillary_vistas_panoptic_seg",
        image_root=f"{root}/images",
        sem_seg_root=f"{root}/labels",
        panoptic_root=f"{root}/panoptic",
        panoptic_json=f"{root}/panoptic_2018.json",
        ignore_label=65,
        all_are_things=True,
        preparation="python datasets/prepare_mapillary_vistas.py",
        num_images=2000,
    )


def _lvis() -> Iterator[DatasetRow]:
    yield DatasetRow(
        name="openvocab_lvis_1203_instance_val",
        kind="lvis",
        vocabulary="lvis_1203",
        evaluator_type="lvis",
        image_root="coco",
        instances_json="lvis/lvis_v1_val.json",
        num_images=19809,
    )


def _all_rows() -> Iterator[DatasetRow]:
    yield from _toy()
    for split in ("train", "val"):
        yield from _ade20k(split)
        yield from _coco(split)
        yield from _pascal(split)
        yield from _cityscapes(split)
    yield from _mapillary()
    yield from _lvis()
    yield from mess.rows()


DATASETS: dict[str, DatasetRow] = {row.name: row for row in _all_rows()}
"""All datasets by name."""
