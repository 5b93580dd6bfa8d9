"""A short run of damaged and hostile inputs; the long one is ``python tools/checks/fuzz_inputs.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INPUTS = 150


@pytest.fixture(scope="module")
def report(root_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    keep = tmp_path_factory.mktemp("fuzz")
    command = [sys.executable, str(root_dir / "tools" / "checks" / "fuzz_inputs.py"), "--seed", "7", "--workers", "1"]
    environment = os.environ | {"PYTHONPATH": str(root_dir), "OMP_NUM_THREADS": "1"}
    command += ["--inputs", str(INPUTS), "--keep", str(keep)]
    done = subprocess.run(command, env=environment, cwd=keep, capture_output=True, text=True)
    assert (keep / "report.json").is_file(), done.stderr
    found = json.loads((keep / "report.json").read_text())
    assert done.returncode == bool(found["findings"])
    return found


def test_every_input_is_read_or_refused_in_one_line(report):
    assert report["findings"] == []


def test_all_inputs_were_tried_and_some_could_be_read(report):
    counts = {verdict: 0 for _, verdict, _ in report["counts"]}
    for _, verdict, count in report["counts"]:
        counts[verdict] += count
    assert sum(counts.values()) == INPUTS and min(counts["read"], counts["refused"]) > 10
    assert len({kind for kind, _, _ in report["counts"]}) == 11
    assert report["peak_bytes"] < 1_000_000_000
