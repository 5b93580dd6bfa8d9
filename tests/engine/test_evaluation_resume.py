"""An evaluation that was killed goes on and ends with the numbers of one that was not."""

from __future__ import annotations

import json
import time

import pytest
import torch
from detectron2.config import CfgNode as CN
from torch import nn

from maskclippp.config.defaults import default_config
from maskclippp.engine.progress import Progress, identity, weights_hash
from maskclippp.evaluation.semantic import SemSegEvaluator

OPTIONS = ("--eval-only", "TEST.SAVE_STATE_SECONDS", "0.001", "TEST.PICTURES", "2")


def files(folder) -> dict[str, bytes]:
    """Everything that evaluation left, by name."""
    names = ("results.json", "standin_val/sem_seg_evaluation.csv", "standin_val/sem_seg_worst.png")
    return {name: (folder / "inference" / name).read_bytes() for name in names}


def test_killed_evaluation_goes_on(standin, capfd) -> None:
    folder = standin.output / "standin"
    weights = folder.parent / "weights.pth"
    assert standin.run("--tag", "training", "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "0") == 0
    weights.write_bytes((folder / "training" / "model_final.pth").read_bytes())
    process = standin.start("--tag", "killed", *OPTIONS, "MODEL.WEIGHTS", str(weights), STANDIN_EVALUATION_SLEEP="0.4")
    state = folder / "killed" / "inference" / "standin_val" / "state_0_of_1.pth"
    until = time.monotonic() + 60
    while not state.exists():
        assert process.poll() is None and time.monotonic() < until, process.stdout.read()
        time.sleep(0.02)
    process.kill()
    process.wait()
    done = torch.load(state, weights_only=True)["done"]
    assert 0 < done < 7 and not (folder / "killed" / "inference" / "results.json").exists()

    capfd.readouterr()
    assert standin.run("--tag", "killed", *OPTIONS, "MODEL.WEIGHTS", str(weights)) == 0
    out = capfd.readouterr().out
    assert f"evaluation goes on after {done} images" in out and f"Start inference on {7 - done} batches" in out
    assert standin.run("--tag", "whole", *OPTIONS, "MODEL.WEIGHTS", str(weights)) == 0
    assert files(folder / "killed") == files(folder / "whole")
    assert not list(folder.rglob("state_*"))


@pytest.fixture
def evaluator(tmp_path):
    """An evaluator that has seen something."""
    found = SemSegEvaluator(["a", "b"])
    found._region.add_state(torch.ones(3, 3, dtype=torch.long))
    return found


def restored(folder, name: str, seconds: float = 1e-9) -> tuple[int, int]:
    """Images done and pixels counted after restoring."""
    fresh = SemSegEvaluator(["a", "b"])
    return Progress(folder, name, seconds).restore(fresh), int(fresh.confusion.sum())


def test_only_the_same_evaluation_is_continued(tmp_path, evaluator, caplog) -> None:
    progress = Progress(tmp_path, "mine", 1e-9)
    assert restored(tmp_path, "mine") == (0, 0)
    progress.save_if_due(evaluator, 5)
    assert restored(tmp_path, "mine") == (5, 9)
    assert restored(tmp_path, "mine", seconds=0) == (0, 0)
    with caplog.at_level("INFO"):
        assert restored(tmp_path, "other") == (0, 0)
    assert "is of another model, config or dataset: evaluation starts over" in caplog.text
    path = tmp_path / "state_0_of_1.pth"
    path.write_bytes(path.read_bytes()[:100])
    assert restored(tmp_path, "mine") == (0, 0) and "cannot be read" in caplog.text
    (tmp_path / ".state_0_of_1.123.tmp.pth").write_bytes(b"half a state")
    progress.remove()
    assert not list(tmp_path.iterdir())


def test_states_are_saved_now_and_then(tmp_path, evaluator) -> None:
    for seconds in (0, 1000):
        progress = Progress(tmp_path, "mine", seconds)
        progress.save_if_due(evaluator, 1)
        progress.save_at_end(evaluator, 2)
    assert not list(tmp_path.iterdir())


def test_identity() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(torch.bfloat16)
    cfg, records = default_config(), [{"file_name": "a.jpg"}]
    weights = weights_hash(model)
    assert weights == weights_hash(model)
    same = identity(cfg, weights, records)

    def changed(*options) -> str:
        other: CN = cfg.clone()
        other.merge_from_list(list(options))
        return identity(other, weights, records)

    assert changed("OUTPUT_DIR", "else", "SOLVER.MAX_ITER", 3, "TEST.SAVE_STATE_SECONDS", 5.0) == same
    assert changed("MODEL.WEIGHTS", "the same under another name.pth") == same
    assert changed("INPUT.MIN_SIZE_TEST", 123) != same and changed("TEST.PICTURES", 2) != same
    assert identity(cfg, weights, [{"file_name": "b.jpg"}]) != same
    with torch.no_grad():
        model[0].bias[1] += 1
    assert weights_hash(model) != weights and identity(cfg, weights_hash(model), records) != same


def test_results_hold_means_of_domains(standin, monkeypatch) -> None:
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for number in range(2):
        name = f"standin_domain_{number}"
        DatasetCatalog.register(name, lambda: DatasetCatalog.get("standin_val")[:3])
        MetadataCatalog.get(name).set(**{**MetadataCatalog.get("standin_val").as_dict(), "name": name}, domain="Earth")
    try:
        names = ("standin_domain_0", "standin_domain_1")
        assert standin.run("--tag", "a", "--eval-only", "DATASETS.TEST", repr(names)) == 0
    finally:
        for number in range(2):
            DatasetCatalog.remove(f"standin_domain_{number}")
            MetadataCatalog.remove(f"standin_domain_{number}")
    found = json.loads((standin.output / "standin/a/inference/results.json").read_text())
    assert list(found) == [*names, "mean of Earth"]
    assert found["mean of Earth"]["sem_seg"]["mIoU"] == found["standin_domain_0"]["sem_seg"]["mIoU"]
