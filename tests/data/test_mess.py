"""The datasets of the MESS benchmark: rows, and class names that come from a package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from maskclippp.data.datasets import DATASETS, get_dataset, get_metadata, register_all
from maskclippp.data.datasets.mess import DOMAINS, is_mess
from maskclippp.utils.errors import UserError

from .conftest import write_labels, write_picture


@pytest.fixture(autouse=True)
def _restore_registration():
    yield
    register_all()


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package ``mess`` whose code must not run."""
    folder = tmp_path / "site/mess/datasets"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('this code must not run')\n")
    (folder / "register_cwfid.py").write_text(
        "import rasterio\nCLASSES = ['ground', 'crop seedling', 'weed']\nCLASSES_OFFICIAL = [1, 2]\n"
    )
    (folder / "register_suim.py").write_text("CLASSES = [\n")
    monkeypatch.syspath_prepend(str(folder.parent.parent))
    monkeypatch.delitem(sys.modules, "mess", raising=False)
    importlib.invalidate_caches()
    return folder


def test_rows() -> None:
    rows = [row for row in DATASETS.values() if is_mess(row)]
    assert len(rows) == 39 and {row.domain for row in rows} == set(DOMAINS)
    assert DATASETS["dram_sem_seg_test"].background_class == 11
    assert DATASETS["floodnet_sem_seg_test"].classes_of_interest == (1, 3)
    assert DATASETS["paxray_sem_seg_test_bones"].sem_seg_root == "paxray_dataset/annotations_detectron2/test/bones"


def test_class_names_are_read_without_running_the_package(package, tmp_path) -> None:
    root = tmp_path / "data/cwfid"
    for number in ("001", "002"):
        write_picture(root / f"images/{number}_image.png")
        write_labels(root / f"annotations_detectron2/test/{number}_annotation.png", np.zeros((12, 16), np.uint8))
    register_all(str(tmp_path / "data"))
    records = get_dataset("cwfid_sem_seg_test", allow_incomplete=True)
    assert [Path(record["sem_seg_file_name"]).name for record in records] == [
        "001_annotation.png",
        "002_annotation.png",
    ]
    metadata = get_metadata("cwfid_sem_seg_test")
    assert metadata.stuff_classes == ["ground", "crop seedling", "weed"]
    assert (metadata.domain, metadata.background_class, metadata.ignore_label) == ("Agriculture", 0, 255)
    assert metadata.classes_of_interest == [1, 2]


def test_without_the_package(monkeypatch) -> None:
    """Registering is no matter; asking for such a dataset is."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    register_all("/elsewhere")
    with pytest.raises(UserError, match="come from the package mess-benchmark; install it: pip install"):
        get_metadata("cwfid_sem_seg_test")


def test_another_version_of_the_package(package) -> None:
    register_all("/elsewhere")
    for name, message in [
        ("cwfid_sem_seg_test_official", "no class list 'CLASSES_OFFICIAL'"),
        ("suim_sem_seg_test", "cannot be read .*install mess-benchmark 0.2"),
        ("dram_sem_seg_test", "register_dram.py: cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            get_metadata(name)
