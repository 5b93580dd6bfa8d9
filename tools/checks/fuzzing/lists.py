"""Vocabularies, class lists, and the files that describe datasets."""

from __future__ import annotations

import random
from pathlib import Path

import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from maskclippp.data.datasets import get_dataset, get_metadata
from maskclippp.data.datasets.custom import is_custom
from maskclippp.data.vocabularies import load_vocabulary
from maskclippp.data.vocabularies.check import check_vocabulary, compare_with, read_classes
from maskclippp.data.vocabularies.vocabulary import FOLDER

from .case import Case, Surroundings
from .mutations import DEEP, DIGITS, damage_bytes, damage_text, damage_tree
from .pictures import good_picture

_LINES = ("0\tthing\tdog", "2000000000\tstuff\tsky", "1\tthing\tdog, puppy", "9\tthing", "\t\t", "0\tthing\tcat,,", "x")


def vocabulary_case(around: Surroundings) -> Case:
    """A damaged vocabulary or class list."""
    rng = around.rng
    path = around.folder / f"v{rng.choice(('.tsv', '.tsv', '.txt', ''))}"
    path.write_bytes(_words(rng, path.suffix == ".tsv"))

    def read() -> None:
        report = check_vocabulary(str(path), rng.choice((None, 3)))
        report.lines()
        vocabulary = read_classes(str(path))
        compare_with(vocabulary, load_vocabulary("toy_60"))
        if path.suffix == ".tsv":
            load_vocabulary(path)

    return Case(read, (path.name,))


def dataset_case(around: Surroundings) -> Case:
    """A damaged file that describes a dataset of label maps."""
    rng, folder = around.rng, around.folder
    for name in ("images", "labels"):
        (folder / name).mkdir()
        Image.fromarray(good_picture(rng)[..., 0]).save(folder / name / "a.png")
    (folder / "v.txt").write_bytes(_words(rng, with_ids=False))
    classes = rng.choice((["dog", "cat"], {"0": "dog", "1": "cat, kitten"}, "v.txt", "toy_60", "v.tsv"))
    tree = {"images": "images", "labels": "labels", "classes": classes, "ignore_label": 255, "image_ext": "png"}
    text = yaml.safe_dump(damage_tree(rng, tree) if rng.random() < 0.7 else tree)
    text = text.replace(f"'{DEEP}'", "[" * 3000 + "]" * 3000).replace(f"'{DIGITS}'", "9" * 5000)
    path = folder / f"d{rng.choice(('.yaml', '.yml', '.json'))}"
    content = damage_text(rng, text) if rng.random() < 0.3 else text
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    return Case(lambda: _use(path), (path.name, folder.name))


def forget_datasets() -> None:
    """Forget datasets by file: the next input has a file of the same name."""
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in filter(is_custom, list(catalog)):
            catalog.pop(name)


def _use(path: Path) -> None:
    get_metadata(str(path))
    get_dataset(str(path))


def _words(rng: random.Random, with_ids: bool) -> bytes:
    if with_ids:
        names = rng.choice(("toy_60", "pascal_voc_20", "lvis_1203"))
        lines = (FOLDER / f"{names}.tsv").read_text(encoding="utf-8").split("\n")
        text = "\n".join([*lines, rng.choice(_LINES)][: rng.choice((3, 30, 2000))])
    else:
        text = "\n".join(
            rng.choice(("dog", "cat, kitten", "sky; sea", "# note", "", "a,b,", "ſ", "dog")) for _ in range(9)
        )
    if rng.random() < 0.3:
        return damage_bytes(rng, text.encode())
    text = damage_text(rng, text)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace")
