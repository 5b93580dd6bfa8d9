"""The benchmark's two variants agree, and its figures are complete."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from maskclippp.testing.benchmark.jobs import JOBS, VARIANTS, Settings, build
from maskclippp.testing.benchmark.measure import largest_difference

SMALL = Settings(size="tiny", image_size=64, masks=3, classes=4)


@pytest.mark.parametrize("job", list(JOBS))
def test_variants_agree(job):
    results = {variant: build(job, variant, SMALL)() for variant in VARIANTS}
    assert largest_difference(results) < 1e-4


def test_disagreement_is_an_error():
    results = {"ours": {"x": torch.ones(2)}, "naive": {"x": torch.tensor([1.0, 1.1])}}
    with pytest.raises(ValueError, match="x differs by 0.09"):
        largest_difference(results)


def test_door(root_dir, tmp_path):
    arguments = "text --size tiny --classes 3 --repeats 1 --threads 1 --json".split()
    command = [sys.executable, str(root_dir / "tools/benchmark.py"), *arguments, str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["median_s"].keys() == {"ours", "naive"}
    assert figures["time_ratio"] == pytest.approx(figures["median_s"]["naive"] / figures["median_s"]["ours"])
    assert "naive takes" in done.stdout
