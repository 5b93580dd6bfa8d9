"""The repository's folder datasets/ is not met as a package, and nothing depends on the working folder."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskclippp.utils.shadowing import hide_data_folder

NEEDS_DATASETS = """
import sys
from transformers.utils import is_datasets_available
from transformers import RagRetriever
print(is_datasets_available(), sys.modules.get("datasets"))
"""


def python(*arguments: str, cwd: Path, path: str | None = None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DETECTRON2_DATASETS")}
    environment |= {"PYTHONPATH": path} if path else {}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def _restore_modules(monkeypatch):
    monkeypatch.delitem(sys.modules, "datasets", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder ``datasets`` in a folder that Python looks into."""
    if find_spec("datasets") is not None and find_spec("datasets").origin is not None:
        pytest.skip("the package datasets is installed and comes first")
    for entry in [entry for entry in sys.path if Path(entry or ".", "datasets").is_dir()]:
        monkeypatch.setattr(sys, "path", [other for other in sys.path if other != entry])
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "datasets/coco").mkdir(parents=True)
    return tmp_path / "datasets"


def hidden() -> bool:
    hide_data_folder()
    return sys.modules.get("datasets", "") is None


def test_folder_of_data(folder) -> None:
    import datasets  # noqa: F401  a namespace package

    assert hidden() and find_spec("datasets") is None
    with pytest.raises(ImportError):
        import datasets  # noqa: F401, F811
    assert hidden(), "also the second time"


def test_folder_of_this_repository(folder, root_dir) -> None:
    for script in (root_dir / "datasets").glob("*.py"):
        (folder / script.name).write_text(script.read_text())
    assert hidden()


@pytest.mark.parametrize("file", ["__init__.py", "mine.py", "mine/__init__.py"])
def test_code_of_others_is_left_alone(folder, file) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("")
    assert not hidden() and find_spec("datasets") is not None


@pytest.mark.skipif(find_spec("transformers") is None, reason="needs the package transformers")
def test_transformers_in_the_repository(root_dir, tmp_path) -> None:
    """Code of transformers that needs Hugging Face's datasets is imported, by -c and by a script."""
    if find_spec("datasets") is not None and find_spec("datasets").origin is not None:
        pytest.skip("the package datasets is installed and comes first")
    script = tmp_path / "script.py"
    script.write_text(f"import maskclippp{NEEDS_DATASETS}")
    calls = [
        (("-c", script.read_text()), root_dir, None),
        ((str(script),), root_dir, str(root_dir)),
        ((str(script),), tmp_path, str(root_dir)),
    ]
    for call, cwd, path in calls:
        done = python(*call, cwd=cwd, path=path)
        assert done.returncode == 0 and done.stdout.split() == ["False", "None"], done.stderr


def test_commands_in_an_empty_folder(root_dir, tmp_path) -> None:
    """Doors work, configs and class lists are found by name, and nothing is left behind."""
    root = tmp_path / "data"
    root.mkdir()
    cwd = tmp_path / "empty"
    cwd.mkdir()
    calls = {
        (f"{root_dir}/tools/check_datasets.py", "toy*"): (0, "0 present, 0 partly, 9 absent (below datasets)"),
        (f"{root_dir}/datasets/prepare_cityscapes.py", "--root", str(root)): (1, "nothing else to prepare is there"),
        (
            "-c",
            "from maskclippp.config.load import load_config as load\n"
            "print(load('configs/toy/maskclippp_toy_clip-vit_m2f.yaml').DATASETS.TRAIN)",
        ): (0, "toy_"),
    }
    for call, (status, told) in calls.items():
        done = python(*call, cwd=cwd, path=str(root_dir))
        assert done.returncode == status and told in done.stdout + done.stderr, (call, done.stdout, done.stderr)
    assert not list(cwd.iterdir())
