"""PEP 517 backend: fetches the sdist of detectron2 0.6, checks its hash, edits it and builds a pure-Python wheel."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edits import EDITS, EditError, apply_edits

SDIST = "pb1-detectron2-0.6"
REQUIREMENT = "pb1-detectron2==0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
SDIST_VARIABLE = "DETECTRON2_SDIST"
NEWEST_PIP = (26, 0)


class BuildError(Exception):
    """The wheel cannot be built; the message says why and what to do."""


def build_wheel(
    wheel_directory: str, config_settings: Mapping[str, object] | None = None, metadata_directory: str | None = None
) -> str:
    """PEP 517 hook: build the wheel into `wheel_directory` and return its file name."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _build(Path(folder), Path(wheel_directory).resolve())
    except (BuildError, EditError) as error:
        raise SystemExit(f"detectron2: {error}") from None


def build_sdist(sdist_directory: str, config_settings: Mapping[str, object] | None = None) -> str:
    """PEP 517 hook: refused, because the source belongs to its own project."""
    raise SystemExit("detectron2: this folder builds wheels only: pip install --no-build-isolation PATH_OF_THIS_FOLDER")


def prepare_source(sdist: Path, folder: Path) -> Path:
    """Check `sdist`, unpack it into `folder`, apply all edits and return the source tree."""
    check_hash(sdist)
    source = unpack(sdist, folder)
    apply_edits(source, EDITS)
    return source


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack `sdist` into `folder` and return the source tree."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / SDIST


def check_hash(sdist: Path) -> None:
    """Raise BuildError unless the file is, byte for byte, the sdist that the edits were written for."""
    found = hashlib.sha256(sdist.read_bytes()).hexdigest()
    if found != SHA256:
        raise BuildError(f"{sdist}: SHA-256 is {found}, expected {SHA256}; not the known sdist, nothing was built")


def find_sdist(folder: Path) -> Path:
    """The sdist named by the environment variable DETECTRON2_SDIST, otherwise a fresh download into `folder`."""
    named = os.environ.get(SDIST_VARIABLE)
    if not named:
        return download(folder)
    sdist = Path(named).expanduser()
    if not sdist.is_file():
        raise BuildError(f"{SDIST_VARIABLE}={named}: no such file; unset it to download the sdist")
    return sdist


def download(folder: Path) -> Path:
    """Fetch the sdist with this environment's pip, which refuses a file of another hash before running any of it."""
    check_tools()
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--dest", str(folder), "--requirement", str(wanted)]
    # Our own caller's hook settings would make the inner pip look for the sdist's backend in this folder.
    env = {name: value for name, value in os.environ.items() if not name.startswith("_PYPROJECT_HOOKS_")}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    if done.returncode:
        raise BuildError(
            f"pip could not download {REQUIREMENT} (offline? download it elsewhere and set {SDIST_VARIABLE}=FILE):\n"
            + done.stdout.strip()
        )
    return folder / f"{SDIST}.tar.gz"


def check_tools() -> None:
    """Raise BuildError unless torch and a pip that accepts the sdist's old metadata are in this environment."""
    if importlib.util.find_spec("torch") is None:
        raise BuildError("torch is not visible: install it first, then this folder with pip's --no-build-isolation")
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        raise BuildError("pip is not in this environment: run `python -m ensurepip` first") from None
    if tuple(int(part) for part in version.split(".")[:2]) > NEWEST_PIP:
        newest = ".".join(map(str, NEWEST_PIP))
        raise BuildError(f"pip {version} refuses the sdist's metadata: run `pip install 'pip<={newest}'` first")


def _build(folder: Path, wheel_directory: Path) -> str:
    """Build in `folder` with setuptools, as the project's own setup.py says after the edits."""
    source = prepare_source(find_sdist(folder), folder)
    from setuptools import build_meta

    before = Path.cwd()
    os.chdir(source)
    try:
        return build_meta.build_wheel(str(wheel_directory))
    finally:
        os.chdir(before)
