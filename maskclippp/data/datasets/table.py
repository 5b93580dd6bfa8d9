"""The datasets as rows: where their files are, which vocabulary they use, how they are made. Nothing here reads a file.

All folders and files are relative to the datasets root (environment variable DETECTRON2_DATASETS, else ``datasets``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DatasetRow:
    """One dataset split.

    Attributes:
        name: registered name.
        kind: what its records hold: label maps, panoptic segments (with label maps where they exist), or instances.
        vocabulary: shipped vocabulary, in the contiguous order of the label maps.
        evaluator_type: selects the evaluators.
        image_root: folder of the pictures.
        sem_seg_root: folder of the label maps.
        panoptic_root: folder of the panoptic PNGs.
        panoptic_json: COCO panoptic file.
        instances_json: COCO instance file; ground truth of instance evaluation.
        preparation: command that makes the files which this project can make.
        ignore_label: value of unlabelled pixels.
        image_ext: suffix of the pictures of a semantic dataset.
        label_ext: suffix of the label maps of a semantic dataset.
        image_pattern: picture of a panoptic annotation below ``image_root``; ``{stem}`` is the PNG's name without
            suffix, ``{id}`` the image id, ``{folder}`` the part of the id before the first underscore.
        sem_seg_pattern: likewise for the label map below ``sem_seg_root``.
        all_are_things: list every class in ``thing_classes``, as the published Cityscapes set does.
    """

    name: str
    kind: Literal["sem_seg", "panoptic", "instance"]
    vocabulary: str
    evaluator_type: str
    image_root: str
    preparation: str
    sem_seg_root: str = ""
    panoptic_root: str = ""
    panoptic_json: str = ""
    instances_json: str = ""
    ignore_label: int = 255
    image_ext: str = "jpg"
    label_ext: str = "png"
    image_pattern: str = "{stem}.jpg"
    sem_seg_pattern: str = "{stem}.png"
    all_are_things: bool = False


_LONG_SPLIT = {"train": "training", "val": "validation", "test": "test"}
_TOY_SCRIPT = "python tools/make_toy_world.py"


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
    )


def _coco(split: str) -> Iterator[DatasetRow]:
    images = f"coco/{split}2017"
    yield DatasetRow(
        name=f"openvocab_coco_2017_{split}_stuff_sem_seg",
        kind="sem_seg",
        vocabulary="coco_stuff_171",
        evaluator_type="sem_seg",
        image_root=images,
        sem_seg_root=f"coco/stuffthingmaps_detectron2/{split}2017",
        preparation="python datasets/prepare_coco_stuff_sem_seg.py",
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
        instances_json=f"coco/annotations/instances_{split}2017.json",
        preparation="python datasets/prepare_coco_semantic_annos_from_panoptic_annos.py",
    )


def _pascal(split: str) -> Iterator[DatasetRow]:
    folder = _LONG_SPLIT[split]
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
            preparation=f"python datasets/{script}",
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
        preparation="python datasets/prepare_cityscapes.py",
    )


def _all_rows() -> Iterator[DatasetRow]:
    yield from _toy()
    for split in ("train", "val"):
        yield from _ade20k(split)
        yield from _coco(split)
        yield from _pascal(split)
        yield from _cityscapes(split)


DATASETS: dict[str, DatasetRow] = {row.name: row for row in _all_rows()}
"""All datasets by name."""
