"""The project's own wheel holds all its data, and every requirement has one tested version per Python."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PARTS = ("maskclippp", "tools", "configs", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "constraints.txt")
PYTHONS = ("3.10", "3.11", "3.12")


@pytest.fixture(scope="module")
def wheel(root_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that no build products stay in the repository."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        if (root_dir / name).is_dir():
            shutil.copytree(root_dir / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root_dir / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", target, source], check=True)
    (path,) = target.glob("maskclippp-*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_wheel_holds_every_file_of_the_package(root_dir, wheel):
    wanted = {
        path.relative_to(root_dir).as_posix()
        for path in (root_dir / "maskclippp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - set(wheel.namelist()) == set()


def test_wheel_holds_the_configs(root_dir, wheel):
    wanted = {f"maskclippp/{path.relative_to(root_dir).as_posix()}" for path in (root_dir / "configs").rglob("*.yaml")}
    assert wanted and wanted - set(wheel.namelist()) == set()


def test_an_installed_package_finds_its_configs_from_an_empty_folder(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    code = (
        "import maskclippp; from maskclippp.config import load_config;"
        "print(maskclippp.__file__, load_config('configs/toy/maskclippp_toy_clip-vit.yaml').MODEL.META_ARCHITECTURE)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "site" / "maskclippp" / "__init__.py"), "MaskCLIPpp"]


def test_wheel_holds_nothing_else(wheel):
    """Golden cases, manifests, config checks and benchmarks are tools of the repository."""
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"maskclippp", f"maskclippp-{_version()}.dist-info"}
    assert not [name for name in names if name.startswith("maskclippp/testing")]


def test_metadata(metadata):
    assert metadata["Version"] == _version()
    assert metadata["Requires-Python"] in (">=3.10,<3.13", "<3.13,>=3.10")
    assert set(metadata.get_all("Provides-Extra")) == {"app", "cityscapes", "dev", "hf", "mess"}
    assert not [line for line in metadata.get_all("Requires-Dist") if line.startswith("detectron2")]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_requirement_has_a_tested_version(root_dir, metadata, python):
    pins = _pins(root_dir / "constraints.txt", python)
    for requirement in map(Requirement, metadata.get_all("Requires-Dist")):
        name = requirement.name.lower().replace("-", "_")
        assert name in pins, f"{requirement.name} has no version in constraints.txt for Python {python}"
        (operator, version) = next((pin.operator, pin.version) for pin in pins[name].specifier if "=" in pin.operator)
        assert operator in ("==", ">=", "<=") and requirement.specifier.contains(version)


def _version() -> str:
    import maskclippp

    return maskclippp.__version__


def _pins(constraints: Path, python: str) -> dict[str, Requirement]:
    """The constraints that hold for a Python version, by normalised name; each name must occur once."""
    pins: dict[str, Requirement] = {}
    for line in constraints.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker and not pin.marker.evaluate({"python_version": python}):
            continue
        name = pin.name.lower().replace("-", "_")
        assert name not in pins, f"{pin.name} is constrained twice for Python {python}"
        pins[name] = pin
    return pins
