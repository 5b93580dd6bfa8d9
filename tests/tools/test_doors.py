"""The doors of the checks work from any folder, and find their libraries beside themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOORS = ["benchmark.py", "check_configs.py", "check_golden.py", "check_manifests.py"]


@pytest.mark.parametrize("name", DOORS)
def test_a_door_opens_from_any_folder(name: str, root_dir: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(root_dir)}
    command = [sys.executable, str(root_dir / "tools" / name), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {name}")
