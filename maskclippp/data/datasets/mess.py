"""The 22 datasets of the MESS benchmark (Blumenstiel et al., 2023); class names are read from its package.

The package (``mess-benchmark``) is not needed before class names are asked for, and then none of its code runs: the
constants are read from its source, so its own requirements need not be installed either. The package also holds the
scripts that make the files. If ``mess.datasets`` is imported as well, import it first: it registers the same names.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from maskclippp.utils.errors import UserError

from ..vocabularies import Vocabulary
from .row import DatasetRow

DOMAINS = ("General", "Earth", "Medical", "Engineering", "Agriculture")
"""Domains in the order of the published tables; "Agriculture" includes biology."""

_PREFIX = "mess:"
_INSTALL = "pip install 'maskclippp[mess]' (or, without its requirements, pip install --no-deps mess-benchmark)"


def rows() -> Iterator[DatasetRow]:
    """Yield all registrations of the benchmark; the first one of each dataset is the one that published tables use."""
    yield from _general()
    yield from _earth()
    yield from _medical()
    yield from _engineering()
    yield from _agriculture()


def is_mess(row: DatasetRow) -> bool:
    """Whether the class names of a row come from the package."""
    return row.vocabulary.startswith(_PREFIX)


def mess_vocabulary(name: str) -> Vocabulary:
    """Read a class list of the package.

    Args:
        name: ``mess:<module>:<constant>``, as in ``mess:cwfid:CLASSES``.

    Returns:
        Classes with one name each, all of them stuff.

    Raises:
        UserError: the package is not installed, or another version of it without this class list.
    """
    module, constant = name.removeprefix(_PREFIX).split(":")
    spec = importlib.util.find_spec("mess")
    if spec is None or spec.origin is None:
        raise UserError(
            f"the class names of MESS datasets come from the package mess-benchmark; install it: {_INSTALL}"
        )
    path = Path(spec.origin).parent / "datasets" / f"register_{module}.py"
    classes = _constant(path, constant)
    names = tuple((entry,) for entry in classes)
    return Vocabulary(name, tuple(range(len(names))), (False,) * len(names), names)


def _constant(path: Path, name: str) -> tuple[str, ...]:
    """Return a list of texts that a source file assigns to a name."""
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
                classes = ast.literal_eval(node.value)
                if isinstance(classes, list | tuple) and classes and all(isinstance(entry, str) for entry in classes):
                    return tuple(classes)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); install mess-benchmark 0.2: {_INSTALL}") from error
    raise UserError(f"{path}: no class list '{name}'; install mess-benchmark 0.2: {_INSTALL}")


def _rows(
    domain: str,
    module: str,
    splits: Mapping[str, str],
    *,
    images: str,
    labels: str,
    num_images: int,
    prefix: str = "",
    background: int = 0,
    of_interest: tuple[int, ...] = (),
    image_ext: str = "jpg",
    label_ext: str = "png",
) -> Iterator[DatasetRow]:
    """Yield one row per registration.

    Args:
        domain: one of ``DOMAINS``.
        module: ``register_<module>.py`` of the package.
        splits: registered suffix -> constant with the class names.
        images, labels: folders below the datasets root; ``{}`` stands for the last part of the suffix.
        num_images: pictures of each registration, 0 if not known.
        prefix: registered prefix; the module by default.
        background: class that stands for everything else, 255 if there is none.
        of_interest: classes that the benchmark looks at, if these are not all but that one.
        image_ext, label_ext: endings of the file names; what is before them must agree.
    """
    for suffix, constant in splits.items():
        part = suffix.split("_")[-1]
        yield DatasetRow(
            name=f"{prefix or module}_sem_seg_{suffix}",
            kind="sem_seg",
            vocabulary=f"{_PREFIX}{module}:{constant}",
            evaluator_type="sem_seg",
            image_root=images.format(part),
            sem_seg_root=labels.format(part),
            image_ext=image_ext,
            label_ext=label_ext,
            preparation="python -m mess.prepare_all_datasets --dataset_dir $DETECTRON2_DATASETS",
            num_images=num_images,
            domain=domain,
            background_class=background,
            classes_of_interest=of_interest,
        )


def _prepared(root: str, split: str) -> dict[str, str]:
    """The folders that most preparation scripts of the package write."""
    return {"images": f"{root}/images_detectron2/{split}", "labels": f"{root}/annotations_detectron2/{split}"}


def _general() -> Iterator[DatasetRow]:
    domain = "General"
    yield from _rows(
        domain,
        "bdd100k",
        {"val": "CLASSES"},
        images="bdd100k/images/10k/val",
        labels="bdd100k/annotations_detectron2/val",
        num_images=1000,
        background=255,
    )
    yield from _rows(
        domain,
        "dark_zurich",
        {"val": "CLASSES"},
        images="Dark_Zurich/rgb_anon/val/night/GOPR0356",
        labels="Dark_Zurich/annotations_detectron2/val",
        image_ext="_rgb_anon.png",
        label_ext="_gt_labelIds.png",
        num_images=50,
    )
    yield from _rows(domain, "mhp_v1", {"test": "CLASSES"}, **_prepared("LV-MHP-v1", "test"), num_images=980)
    for split in ("train", "val"):
        yield from _rows(domain, "mhp_v1", {split: "CLASSES"}, **_prepared("LV-MHP-v1", split), num_images=0)
    yield from _rows(
        domain,
        "foodseg",
        {"test": "CLASSES"},
        prefix="foodseg103",
        images="FoodSeg103/Images/img_dir/test",
        labels="FoodSeg103/Images/ann_dir/test",
        num_images=2125,
    )
    atlantis = _prepared("atlantis", "test")
    yield from _rows(domain, "atlantis", {"test": "CLASSES"}, **atlantis, num_images=1295, background=255)
    yield from _rows(
        domain, "dram", {"test": "CLASSES"}, **_prepared("DRAM_processed", "test"), num_images=718, background=11
    )


def _earth() -> Iterator[DatasetRow]:
    domain, official = "Earth", {"val": "CLASSES", "val_official": "CLASSES_OFFICIAL"}
    yield from _rows(domain, "isaid", official, **_prepared("isaid", "val"), image_ext="png", num_images=4055)
    potsdam = {"labels": "ISPRS_Potsdam/annotations_detectron2/test", "image_ext": "png", "num_images": 504}
    for colours, splits in {
        "irrg": {"test_irrg": "CLASSES", "test_irrg_official": "CLASSES_OFFICIAL"},
        "rgb": {"test_rgb": "CLASSES"},
    }.items():
        images = f"ISPRS_Potsdam/images_detectron2/test/{colours}"
        yield from _rows(domain, "isprs_potsdam", splits, images=images, **potsdam, background=5)
    yield from _rows(
        domain,
        "worldfloods",
        {"test_irrg": "CLASSES", "test_rgb": "CLASSES"},
        images="WorldFloods/images_detectron2/test/{}",
        labels="WorldFloods/annotations_detectron2/test",
        image_ext="png",
        num_images=160,
        of_interest=(1,),
    )
    floodnet = _prepared("FloodNet-Supervised_v1.0", "test")
    yield from _rows(domain, "floodnet", {"test": "CLASSES"}, **floodnet, num_images=5571, of_interest=(1, 3))
    yield from _rows(domain, "uavid", official, **_prepared("uavid_v1.5", "val"), image_ext="png", num_images=840)


def _medical() -> Iterator[DatasetRow]:
    domain = "Medical"
    yield from _rows(
        domain,
        "kvasir_instrument",
        {"test": "CLASSES", "test_official": "CLASSES_OFFICIAL"},
        **_prepared("kvasir-instrument", "test"),
        image_ext="png",
        num_images=118,
    )
    yield from _rows(domain, "chase_db1", {"test": "CLASSES"}, **_prepared("CHASEDB1", "test"), num_images=20)
    yield from _rows(
        domain,
        "cryonuseg",
        {"test": "CLASSES"},
        images="CryoNuSeg/images_detectron2",
        labels="CryoNuSeg/annotations_detectron2",
        image_ext="png",
        num_images=30,
    )
    yield from _rows(
        domain,
        "paxray",
        {
            "test_lungs": "LUNGS",
            "test_mediastinum": "MEDIANSTINUM",
            "test_bones": "BONES",
            "test_diaphragm": "DIAPHRAGM",
        },
        images="paxray_dataset/images_detectron2/test",
        labels="paxray_dataset/annotations_detectron2/test/{}",
        image_ext="png",
        num_images=180,
    )


def _engineering() -> Iterator[DatasetRow]:
    domain = "Engineering"
    corrosion = "Corrosion Condition State Classification/original/Test"
    yield from _rows(
        domain,
        "corrosion_cs",
        {"test": "CLASSES", "test_official": "CLASSES_OFFICIAL"},
        images=f"{corrosion}/images",
        labels=f"{corrosion}/masks",
        image_ext="jpeg",
        num_images=44,
    )
    yield from _rows(
        domain,
        "deepcrack",
        {"test": "CLASSES", "test_adapted": "CLASSES_ADAPTED"},
        images="DeepCrack/test_img",
        labels="DeepCrack/annotations_detectron2/test",
        num_images=237,
    )
    for folder, splits in {
        "thermal": {"test": "CLASSES", "test_official": "CLASSES_OFFICAL"},
        "thermal_pseudo": {"test_pseudo": "CLASSES"},
        "rgb": {"test_rgb": "CLASSES"},
    }.items():
        yield from _rows(
            domain,
            "pst900",
            splits,
            images=f"PST900_RGBT_Dataset/test/{folder}",
            labels="PST900_RGBT_Dataset/test/labels",
            image_ext="png",
            num_images=288,
        )
    zerowaste = "zerowaste-f/splits_final_deblurred/test"
    yield from _rows(
        domain,
        "zerowaste",
        {"test": "CLASSES"},
        images=f"{zerowaste}/data",
        labels=f"{zerowaste}/sem_seg",
        image_ext="PNG",
        label_ext="PNG",
        num_images=929,
    )


def _agriculture() -> Iterator[DatasetRow]:
    domain = "Agriculture"
    yield from _rows(
        domain,
        "suim",
        {"test": "CLASSES"},
        images="SUIM/TEST/images",
        labels="SUIM/annotations_detectron2/test",
        num_images=110,
    )
    yield from _rows(domain, "cub_200", {"test": "CLASSES"}, **_prepared("CUB_200_2011", "test"), num_images=5794)
    yield from _rows(
        domain,
        "cwfid",
        {"test": "CLASSES", "test_official": "CLASSES_OFFICIAL"},
        images="cwfid/images",
        labels="cwfid/annotations_detectron2/test",
        image_ext="image.png",
        label_ext="annotation.png",
        num_images=21,
    )
