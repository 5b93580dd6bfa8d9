"""wandb: really offline on disk, and what is sent."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage

from maskclippp.engine.tracking import WandbWriter
from maskclippp.utils.errors import UserError


def test_offline_run_is_written(standin):
    pytest.importorskip("wandb")
    process = standin.start(
        "--tag", "tracked", "SOLVER.MAX_ITER", "22", "WANDB.ENABLED", "True", WANDB_MODE="offline", WANDB_SILENT="true"
    )
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    files = list((standin.output / "standin" / "tracked" / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1
    content = files[0].read_bytes()
    assert b"total_loss" in content and b"sem_seg/mIoU" in content and b"standin/tracked" in content


def test_not_needed_unless_enabled(standin, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert standin.run("--tag", "a", "SOLVER.MAX_ITER", "1") == 0


@pytest.fixture
def fake(monkeypatch):
    """A wandb that remembers."""
    run = SimpleNamespace(logged=[], finished=False)
    run.log = lambda data, step: run.logged.append((step, data))
    run.finish = lambda: setattr(run, "finished", True)
    module = SimpleNamespace(init=lambda **options: setattr(run, "options", options) or run)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return run


def test_what_is_sent(fake):
    writer = WandbWriter(project="p", name="a/b", folder="f", config={"SEED": 1}, resume=True)
    assert fake.options == {"project": "p", "name": "a/b", "dir": "f", "config": {"SEED": 1}, "resume": "auto"}
    with EventStorage(0) as storage:
        for iteration, loss in enumerate((4.0, 2.0, 9.0)):
            storage.iter = iteration
            storage.put_scalar("loss", loss)
        storage.put_scalar("lr", 0.5, smoothing_hint=False)
        writer.write()
        writer.write()
        storage.iter = 3
        storage.put_scalar("lr", 0.25, smoothing_hint=False)
        writer.write()
    writer.close()
    assert fake.logged == [(2, {"loss": 4.0, "lr": 0.5}), (3, {"lr": 0.25})]
    assert fake.finished


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        WandbWriter(project="p", name="n", folder="f", config={}, resume=False)
