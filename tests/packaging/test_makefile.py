"""make setup installs in the right order, once, and says in one line which Python it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# Stands in for the environment's Python: notes its arguments; "-c" asks whether a foreign detectron2 is installed.
FAKE_PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then exit "${FOREIGN_DETECTRON2_MISSING:-1}"; fi
echo "$*" >>"$CALLS"
"""


class Workshop:
    """A copy of the Makefile and what it depends on, with a pretended environment."""

    def __init__(self, root: Path, folder: Path):
        self.folder, self.calls_file = folder, folder / "calls"
        for name in ("Makefile", "setup.py", "constraints.txt"):
            shutil.copy(root / name, folder)
        shutil.copytree(root / "third_party", folder / "third_party", ignore=shutil.ignore_patterns("__pycache__"))
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)

    def make(self, *arguments: str, **env: str) -> list[str]:
        """Run make and return what was asked of the environment's Python meanwhile."""
        self.calls_file.unlink(missing_ok=True)
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        subprocess.run(
            ["make", "--silent", *arguments],
            cwd=self.folder,
            env={**inherited, "CALLS": str(self.calls_file), **env},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return self.calls()

    def calls(self) -> list[str]:
        """What the environment's Python was asked for."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def workshop(root_dir, tmp_path) -> Workshop:
    return Workshop(root_dir, tmp_path)


def test_setup_installs_in_order_and_only_once(workshop):
    calls = workshop.make("setup")
    tails = [call.split("constraints.txt ")[1] for call in calls]
    assert tails == [
        "pip setuptools wheel",
        "torch torchvision",
        "--no-build-isolation ./third_party/detectron2",
        "--no-build-isolation --editable .[dev]",
        "--no-deps lvis cityscapesscripts pyquaternion coloredlogs humanfriendly",
    ]
    assert workshop.make("setup") == []


@pytest.mark.parametrize("name", ["setup.py", "constraints.txt", "third_party/detectron2/edits.py"])
def test_a_changed_input_installs_again(workshop, name):
    workshop.make("setup")
    later = (workshop.folder / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(workshop.folder / name, (later, later))
    assert len(workshop.make("setup")) == 5


def test_a_foreign_detectron2_is_left_alone(workshop):
    calls = workshop.make("setup", FOREIGN_DETECTRON2_MISSING="0")
    assert len(calls) == 4 and not any("third_party" in call for call in calls)


def test_another_source_is_installed_when_it_is_new(workshop):
    workshop.make("setup")
    source = "https://example.org/detectron2.git"
    calls = workshop.make("setup", f"DETECTRON2={source}", FOREIGN_DETECTRON2_MISSING="0")
    assert "-m pip uninstall --yes detectron2" in calls
    assert any(call.endswith(f"--no-build-isolation git+{source}") for call in calls)
    assert workshop.make("setup", f"DETECTRON2={source}") == []
    assert workshop.make("setup") == []


def test_targets_run_their_modules_after_setup(workshop):
    workshop.make("setup")
    assert workshop.make("demo") == ["-m maskclippp.toy.demo"]
    assert workshop.make("demo-study") == ["-m maskclippp.toy.study"]
    assert workshop.make("test", "ARGS=-k name")[0].endswith("-k name")
    assert workshop.make("lint") == ["-m ruff check .", "-m ruff format --check .", "-m mypy"]
    assert workshop.make("format") == ["-m ruff check --fix .", "-m ruff format ."]
    [fast] = workshop.make("test-fast", "ARGS=-x")
    assert fast.startswith("-m pytest -q -m not slow and not gpu tests/test_architecture.py") and fast.endswith("-x")


def test_the_rooms_of_the_fast_tests_exist(root_dir):
    listed = subprocess.run(
        ["make", "--dry-run", "--old-file=.venv/.installed", "test-fast"], cwd=root_dir, capture_output=True, text=True
    ).stdout
    rooms = [word for word in listed.split() if word.startswith("tests/")]
    assert len(rooms) > 5 and all((root_dir / room).exists() for room in rooms)


def test_help_names_every_target(root_dir, workshop):
    """It needs no environment."""
    makefile = (root_dir / "Makefile").read_text()
    targets = next(line for line in makefile.splitlines() if line.startswith(".PHONY: ")).split()[1:]
    done = subprocess.run(["make", "help"], cwd=workshop.folder, capture_output=True, text=True, check=True)
    assert workshop.calls() == []
    assert [name for name in targets if name != "force" and f"make {name} " not in done.stdout] == []
    assert not [line for line in done.stdout.splitlines() if line.startswith("#")]


def test_unsuitable_python_is_refused_in_one_line(workshop, tmp_path):
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.8.1; else exit 1; fi\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", "VENV=fresh", f"PYTHON={old}"], cwd=workshop.folder, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "maskclippp needs Python 3.10, 3.11 or 3.12, not Python 3.8.1; name one: make setup PYTHON=python3.11"
    )
    assert not (workshop.folder / "fresh").exists()
