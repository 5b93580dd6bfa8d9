"""The benchmark's two variants agree, and its figures are complete."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import measure, report
from benchmarks.jobs import JOBS, build
from benchmarks.measure import largest_difference
from benchmarks.settings import VARIANTS, Settings
from tests.common import run_door

SMALL = Settings(size="tiny", image_size=64, masks=3, classes=4)


@pytest.mark.parametrize("job", list(JOBS))
def test_variants_agree(job):
    results = {variant: build(job, variant, SMALL)() for variant in VARIANTS}
    assert largest_difference(results) < 1e-4


def test_disagreement_is_an_error():
    results = {"ours": {"x": torch.ones(2)}, "naive": {"x": torch.tensor([1.0, 1.1])}}
    with pytest.raises(ValueError, match="x differs by 0.09"):
        largest_difference(results)


def test_labels_may_differ_in_ties_only():
    labels = torch.zeros(10**6, dtype=torch.long)
    tied = labels.clone()
    tied[:5] = 1
    assert largest_difference({"ours": {"x": labels}, "naive": {"x": tied}}) == pytest.approx(5e-6)
    tied[:50] = 1
    with pytest.raises(ValueError, match="x differs by 5e-05"):
        largest_difference({"ours": {"x": labels}, "naive": {"x": tied}})


def test_peak_memory_counts_what_a_run_holds(monkeypatch):
    def hold(job, variant, settings):
        return lambda: {"x": torch.ones(64, 2**20 // 4)}  # 64 MiB

    monkeypatch.setattr(measure, "build", hold)
    peak = measure._peak_here("text", "ours", SMALL, torch.get_num_threads())
    assert peak is None or 60 < peak < 200


def test_door(root_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "peak_memory", lambda *arguments: {"ours": 10.0, "naive": 25.0}[arguments[1]])
    threads = str(torch.get_num_threads())
    arguments = "text --size tiny --classes 3 --repeats 1 --threads".split()
    run_door(
        monkeypatch, root_dir / "tools/benchmark.py", *arguments, threads, "--json", str(tmp_path / "figures.json")
    )
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["median_s"].keys() == {"ours", "naive"} and figures["settings"]["classes"] == 3
    assert figures["time_ratio"] == pytest.approx(figures["median_s"]["naive"] / figures["median_s"]["ours"])
    assert "2.50 times the memory" in capsys.readouterr().out
