"""What a run does with an output folder that holds something: checkpoints of every condition, settings, another run."""

from __future__ import annotations

import shutil
import signal
import time

import pytest
import torch

from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.engine.resume import newest_checkpoint
from maskclippp.utils.errors import UserError
from tests.common import BareMethod

OPTIONS = ("SOLVER.MAX_ITER", "15", "TEST.EVAL_PERIOD", "0", "DATASETS.TEST", "()")


class Linear(BareMethod):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(2, 2))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Four checkpoints of the iterations 4, 9, 14 and 14, in a folder."""
    folder = tmp_path_factory.mktemp("finished")
    model = Linear()
    checkpointer = Checkpointer(model, str(folder))
    for name, iteration in (("model_0000004", 4), ("model_0000009", 9), ("model_0000014", 14), ("model_final", 14)):
        checkpointer.save(name, iteration=iteration)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy."""
    return shutil.copytree(finished, tmp_path / "run")


def spoil(path) -> None:
    """One bit of the weights, which torch does not notice."""
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["model"]["weight"].numpy().tobytes()
    content[bytes(content).index(weights)] ^= 1
    path.write_bytes(content)


def test_the_named_checkpoint_is_taken(folder, caplog):
    assert newest_checkpoint(folder) == folder / "model_final.pth"
    (folder / "last_checkpoint").write_text("model_0000004.pth\n")
    assert newest_checkpoint(folder) == folder / "model_0000004.pth"
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "last_checkpoint is missing"),
        (b"", "last_checkpoint names no file of its folder"),
        (b"\xff\xfe\x00", "last_checkpoint cannot be read"),
        (b"model_00", "last_checkpoint names model_00, which is not there"),
        (b"../other/model_final.pth", "last_checkpoint names no file of its folder"),
        (b"a\0b", "last_checkpoint names no file of its folder"),
        (b"x" * 5000, "which is not there"),
    ],
)
def test_without_its_name_the_newest_is_taken(folder, caplog, content, complaint):
    (folder / "model_final.pth").unlink()
    (folder / "model_0000004.pth").rename(folder / "model_zzz.pth")  # the iteration inside counts
    (folder / "last_checkpoint").unlink()
    if content is not None:
        (folder / "last_checkpoint").write_bytes(content)
    assert newest_checkpoint(folder) == folder / "model_0000014.pth"
    (record,) = caplog.records
    assert complaint in record.getMessage() and "going on from" in record.getMessage()
    assert "iteration 15" in record.getMessage() and "\n" not in record.getMessage()


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_objects(path) -> None:
    torch.save({"model": {}, "iteration": 20, "thing": signal.Signals}, path)


def no_iteration(path) -> None:
    torch.save({"model": {"weight": torch.ones(2, 2)}}, path)


@pytest.mark.parametrize("damage", [cut, spoil, other_objects, no_iteration, lambda path: path.write_bytes(b"")])
def test_a_damaged_one_gives_way_to_the_one_before(folder, caplog, damage):
    for name in ("model_final.pth", "model_0000014.pth"):
        damage(folder / name)
    assert newest_checkpoint(folder) == folder / "model_0000009.pth"
    (record,) = caplog.records
    message = record.getMessage()
    assert "model_final.pth is damaged" in message and "weights_only" not in message and "\n" not in message
    for name in ("model_0000009.pth", "model_0000004.pth"):
        damage(folder / name)
    with pytest.raises(UserError, match="none of its checkpoints can be read .*leave out --resume") as caught:
        newest_checkpoint(folder)
    assert "weights_only" not in str(caught.value)


def test_checkpoints_that_are_gone(folder):
    for path in folder.glob("*.pth"):
        path.unlink()
    with pytest.raises(UserError, match="names model_final.pth, which is not there, and there is no other"):
        newest_checkpoint(folder)
    (folder / "last_checkpoint").unlink()
    assert newest_checkpoint(folder) is None


def err(capfd) -> str:
    text = capfd.readouterr().err
    assert "Traceback" not in text and text.count("\n") == 1, text
    return text


def test_resume_wants_a_run(standin, capfd):
    """A mistyped tag is no new run; a run that was killed before its first checkpoint is one."""
    assert standin.run("--tag", "first", *OPTIONS, "SOLVER.MAX_ITER", "5") == 0
    assert standin.run("--tag", "frist", "--resume", *OPTIONS) == 1
    message = err(capfd)
    assert "--resume: there is no run in" in message and "to start anew; did you mean first?" in message
    assert not (standin.output / "standin" / "frist").exists()
    assert standin.run("--tag", "frist", "--resume", "--eval-only", *OPTIONS) == 1
    assert "holds no checkpoint" in err(capfd)
    killed = standin.output / "standin" / "killed"
    killed.mkdir()
    shutil.copy(standin.output / "standin" / "first" / "config.yaml", killed)
    assert standin.run("--tag", "killed", "--resume", *OPTIONS, "SOLVER.MAX_ITER", "5") == 0
    assert "holds no checkpoint yet: starting at iteration 0" in capfd.readouterr().out
    assert (killed / "model_final.pth").exists()


def test_resume_after_damage_ends_with_the_same_weights(standin, checkpoints, capfd):
    assert standin.run("--tag", "a", *OPTIONS) == 0
    folder = standin.output / "standin" / "a"
    whole = checkpoints.load(folder / "model_final.pth")
    for name in ("model_final.pth", "model_0000014.pth"):
        cut(folder / name)
    (folder / "last_checkpoint").write_bytes(b"")
    assert standin.run("--tag", "a", "--resume", *OPTIONS) == 0
    assert "going on from" in (out := capfd.readouterr().out) and "Starting training from iteration 10" in out
    checkpoints.assert_same(checkpoints.load(folder / "model_final.pth"), whole)


def test_a_new_run_keeps_what_an_earlier_one_left(standin, checkpoints, capfd):
    folder = standin.output / "standin" / "a"
    assert standin.run("--tag", "a", *OPTIONS) == 0
    before = {path.name: path.read_bytes() for path in folder.glob("*.pth")}
    assert standin.run("--tag", "a", *OPTIONS, "SOLVER.MAX_ITER", "5") == 0
    assert "held a run with 4 checkpoints; it was moved to" in capfd.readouterr().out
    assert {path.name: path.read_bytes() for path in (folder / "earlier_1").glob("*.pth")} == before
    assert "MAX_ITER: 15" in (folder / "earlier_1" / "config.yaml").read_text()
    assert sorted(path.name for path in folder.glob("*.pth")) == ["model_0000004.pth", "model_final.pth"]
    assert standin.run("--tag", "a", *OPTIONS, "MODEL.WEIGHTS", str(folder / "model_final.pth")) == 1
    assert "is of the run that this one would replace" in err(capfd)
    # An evaluation changes nothing of a training, nor does its seed.
    seed, files = (folder / "seed.txt").read_text(), sorted(folder.glob("*"))
    evaluation = ("--eval-only", "SEED", "9", "MODEL.WEIGHTS", str(folder / "model_final.pth"))
    assert standin.run("--tag", "a", *evaluation) == 0
    assert (folder / "seed.txt").read_text() == seed and sorted({*folder.glob("*")} - {folder / "inference"}) == files


def test_resume_says_which_settings_differ(standin, capfd):
    assert standin.run("--tag", "a", *OPTIONS) == 0
    assert standin.run("--tag", "a", "--resume", *OPTIONS) == 0
    assert "differ" not in capfd.readouterr().out
    changed = ("SEED", "4", "SOLVER.BASE_LR", "0.5", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "16")
    assert standin.run("--tag", "a", "--resume", *OPTIONS, *changed) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "settings differ" in line]
    assert line.split("before: ")[1].split("; ") == [
        "SEED 3 -> 4",
        "SOLVER.BASE_LR 0.01 -> 0.5 (without effect: the checkpoint keeps the old one)",
        "SOLVER.IMS_PER_BATCH 4 -> 2",
        "SOLVER.MAX_ITER 15 -> 16",
    ]


def test_the_second_run_on_a_folder_is_refused(standin, capfd):
    """Training or evaluation; a killed run, its loaders' workers included, holds nothing."""
    training = ("--tag", "a", "DATALOADER.NUM_WORKERS", "2", *OPTIONS, "SOLVER.MAX_ITER", "40")
    first = standin.start(*training, STANDIN_SLEEP="0.5")
    folder, until = standin.output / "standin" / "a", time.monotonic() + 60
    while not (folder / "model_0000004.pth").exists():
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    for arguments in (("--resume", *OPTIONS), OPTIONS, ("--eval-only",)):
        assert standin.run("--tag", "a", *arguments) == 1
        message = err(capfd)
        assert f"another run is at work here (process {first.pid} on " in message and ", started 20" in message
    first.kill()
    first.wait()
    assert standin.run("--tag", "a", "--resume", *OPTIONS, "SOLVER.MAX_ITER", "10") == 0
    assert (folder / "model_final.pth").exists() and (folder / "run.lock").read_text() == ""
