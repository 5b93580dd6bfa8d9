"""Killed and resumed training equals training in one go, bit for bit."""

from __future__ import annotations

import random
import signal
import time

SLOW = "0.03"


def test_three_kills_change_nothing(standin, checkpoints):
    """Killed at three random moments, with two workers and SEED -1, against one run without workers."""
    folder = standin.output / "standin" / "killed"
    options = ("--tag", "killed", "SEED", "-1", "DATALOADER.NUM_WORKERS", "2")
    for kill in range(3):
        process = standin.start(*options, STANDIN_SLEEP=SLOW)
        options = options if kill else ("--resume", *options)
        wait_for_progress(folder, process)
        time.sleep(random.uniform(0.0, 0.25))
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"run {kill} was over before the kill: {process.stdout.read()}"
    leftover = folder / ".model_0000099.1.tmp.pth"
    leftover.write_bytes(b"half a checkpoint")
    rest = standin.start(*options)
    assert rest.wait(timeout=120) == 0, rest.stdout.read()

    seed = (folder / "seed.txt").read_text().strip()
    # In a process of its own as well: sums over another number of threads differ in the last bit.
    one_go = standin.start("--tag", "whole", "SEED", seed)
    assert one_go.wait(timeout=120) == 0, one_go.stdout.read()
    whole = checkpoints.load(standin.output / "standin" / "whole" / "model_final.pth")
    checkpoints.assert_same(checkpoints.load(folder / "model_final.pth"), whole)
    assert whole["iteration"] == 39 and whole["scheduler"]["last_epoch"] == 40
    assert "head.weight" in whole["model"] and "frozen.weight" not in whole["model"]
    assert not list(folder.glob(".*"))


def wait_for_progress(folder, process, timeout=60.0) -> None:
    """Return when the run has written a checkpoint more than there was."""
    before = set(folder.glob("model_*.pth"))
    until = time.monotonic() + timeout
    while not set(folder.glob("model_*.pth")) - before:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < until
        time.sleep(0.01)


def test_resume_after_the_end_changes_nothing(standin, checkpoints):
    options = ("--tag", "a", "SOLVER.MAX_ITER", "4")
    assert standin.run(*options) == 0
    path = standin.output / "standin" / "a" / "model_final.pth"
    before = checkpoints.load(path)
    assert standin.run("--resume", *options) == 0
    checkpoints.assert_same(checkpoints.load(path), before)


def test_without_resume_training_starts_anew(standin, checkpoints):
    options = ("--tag", "a", "SOLVER.MAX_ITER", "4")
    path = standin.output / "standin" / "a" / "model_final.pth"
    assert standin.run(*options) == 0
    first = checkpoints.load(path)
    weights = standin.output / "start.pth"
    weights.write_bytes(path.read_bytes())
    assert standin.run(*options, "SEED", "3") == 0
    checkpoints.assert_same(checkpoints.load(path), first)
    assert standin.run(*options, "MODEL.WEIGHTS", str(weights)) == 0
    assert checkpoints.load(path)["iteration"] == 3
    assert not (checkpoints.load(path)["model"]["head.weight"] == first["model"]["head.weight"]).all()
