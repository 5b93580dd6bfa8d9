"""The command line: training, evaluation, several processes, tracking, and errors as one line."""

from __future__ import annotations

import json
import time

import pytest


def results(standin, tag: str) -> dict:
    return json.loads((standin.output / "standin" / tag / "inference" / "results.json").read_text())


def test_training_leaves_its_files(standin, capfd):
    expected = ("TEST.EXPECTED_RESULTS", "[['sem_seg', 'pACC', 50, 50]]")
    assert standin.run("--tag", "default", "SOLVER.MAX_ITER", "20", *expected) == 0
    folder = standin.output / "standin" / time.strftime("%m%d")
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert {"total_loss", "lr", "data_time"} <= lines[0].keys()
    # After 15 iterations and after the last; no metrics of single classes.
    evaluated = [line for line in lines if "sem_seg/mIoU" in line]
    assert [line["iteration"] for line in evaluated] == [14, 20] and "sem_seg/IoU-red" not in evaluated[0]
    found = json.loads((folder / "inference" / "results.json").read_text())["standin_val"]["sem_seg"]
    assert found["mIoU"] == evaluated[-1]["sem_seg/mIoU"] and found["IoU-grey"] is None
    assert list(folder.glob("events.out.tfevents.*")) and (folder / "config.yaml").exists()
    out = capfd.readouterr().out
    assert "copypaste: Task: sem_seg" in out and "SOLVER.AMP.ENABLED has no effect on cpu" in out
    assert "eta:" in out and "Running on the CPU" in out


def test_two_processes_train_and_evaluate_like_one(standin, checkpoints):
    process = standin.start("--tag", "two", "--num-processes", "2", "SOLVER.MAX_ITER", "6")
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    folder = standin.output / "standin" / "two"
    assert checkpoints.load(folder / "model_final.pth")["iteration"] == 5
    assert (folder / "log.txt.rank1").exists()
    assert standin.run("--tag", "one", "--eval-only", "MODEL.WEIGHTS", str(folder / "model_final.pth")) == 0
    assert results(standin, "two") == results(standin, "one")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["SEEDS", "3"], "error: command line: unknown key SEEDS; did you mean SEED"),
        (["--eval-only", "MODEL.WEIGHTS", "no.pth"], "error: there is no checkpoint no.pth"),
        (["DATASETS.TRAIN", "()"], "error: DATASETS.TRAIN is empty"),
        (["--eval-only", "DATASETS.TEST", "()"], "error: DATASETS.TEST is empty"),
        (["SOLVER.AMP.DTYPE", "float8"], "error: SOLVER.AMP.DTYPE 'float8'; did you mean float16"),
        (["--num-processes", "2", "--num-machines", "2"], "error: --dist-url auto works on one machine only"),
        (
            ["--eval-only", "TEST.EXPECTED_RESULTS", "[['sem_seg','mIoU',101,0.5],['boxes','AP',1,1]]"],
            "error: TEST.EXPECTED_RESULTS: sem_seg/mIoU is",
        ),
    ],
)
def test_errors_are_one_line(standin, capfd, arguments, message):
    assert standin.run("--tag", "a", *arguments) == 1
    err = capfd.readouterr().err
    assert message in err and "Traceback" not in err and err.count("\n") == 1


def test_no_config_file(standin, capfd):
    assert standin.module.main(["--num-gpus", "0"]) == 1
    assert "error: name a config file with --config-file" in capfd.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run(standin, monkeypatch, capfd):
    monkeypatch.setenv("STANDIN_POISON", "8")
    assert standin.run("--tag", "a") == 1
    captured = capfd.readouterr()
    assert "error: loss is not finite at iteration 7: {'loss_ce': nan}" in captured.err
    assert "Traceback" not in captured.out + captured.err
    # The weights of before are still good.
    assert (standin.output / "standin" / "a" / "last_checkpoint").read_text() == "model_0000004.pth"
