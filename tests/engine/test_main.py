"""The command line: training, evaluation, several processes, tracking, and errors as one line."""

from __future__ import annotations

import errno
import json
import logging
import os
import time

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from maskclippp.engine.main import main
from maskclippp.utils.logging import setup_logging


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
        (["--num-gpus", "1"], "error: --num-gpus 1: no GPU is found here; --num-gpus 0 runs on the CPU"),
        (["--num-gpus", "-1"], "error: --num-gpus -1: it must be at least 0"),
        (["--num-processes", "0"], "error: --num-processes 0: it must be at least 1"),
        (["--num-machines", "0"], "error: --num-machines 0: it must be at least 1"),
        (
            ["--num-machines", "2", "--machine-rank", "2"],
            "error: --machine-rank 2: of --num-machines 2",
        ),
        (["--tag", "../../x"], "error: --tag '../../x': it must name a folder below"),
        (["--tag", "a/../../.."], "error: --tag 'a/../../..': it must name a folder below"),
        (["--tag", "/tmp/x"], "error: --tag '/tmp/x': it must name a folder below"),
        (["--tag", ""], "error: --tag '': it must name a folder below"),
        (["--tag", "."], "error: --tag '.': it must name a folder below"),
        (["--tag", "x" * 300], "File name too long"),
        (["MODEL.DEVICE", "tpu"], "error: MODEL.DEVICE 'tpu' must be cuda or cpu"),
        (["SOLVER.MAX_ITER", "0"], "error: command line: SOLVER.MAX_ITER must be at least 1"),
        (["INPUT.MIN_SIZE_TRAIN", "[]"], "error: command line: INPUT.MIN_SIZE_TRAIN must have at least 1 value"),
        (
            ["DATASETS.TEST", "('voc_2007_val',)", "--eval-only"],
            "error: dataset 'voc_2007_val' is none of ours",
        ),
        (["--num-processes", "2", "--num-machines", "2"], "error: --dist-url auto works on one machine only"),
        (
            ["--eval-only", "TEST.EXPECTED_RESULTS", "[['sem_seg','mIoU',101,0.5],['boxes','AP',1,1]]"],
            "error: TEST.EXPECTED_RESULTS: sem_seg/mIoU is",
        ),
    ],
)
def test_errors_are_one_line(standin, capfd, monkeypatch, tmp_path, arguments, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    options = sorted(arguments, key=lambda each: each != "--eval-only")
    assert standin.run("--tag", "a", *options) == 1
    err = capfd.readouterr().err
    assert message in err and "Traceback" not in err and err.count("\n") == 1


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_in_one_line(standin, checkpoints, monkeypatch, capfd):
    """The second checkpoint does not fit any more."""
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda data, path: (save if data["iteration"] < 5 else full_disk)(data, path))
    assert standin.run("--tag", "a") == 1
    captured = capfd.readouterr()
    folder = standin.output / "standin" / "a"
    assert f"error: {folder}/model_0000009.pth: No space left on device; free some space there" in captured.err
    assert captured.err.count("\n") == 1 and "Traceback" not in captured.out + captured.err
    assert [path.name for path in folder.glob("*.pth")] == ["model_0000004.pth"]
    assert checkpoints.load(folder / "model_0000004.pth")["iteration"] == 4
    assert (folder / "last_checkpoint").read_text() == "model_0000004.pth"


def test_a_log_on_a_full_disk_stops_nothing(tmp_path, capfd, monkeypatch):
    setup_logging(tmp_path, rank=1)
    logger = logging.getLogger("maskclippp")
    (handler,) = logger.handlers
    monkeypatch.setattr(handler.stream, "flush", full_disk)
    logger.info("one")
    logger.info("two")
    captured = capfd.readouterr()
    assert captured.out.count("warning: the log ends here") == 1 and "No space left" in captured.out
    assert not captured.err


def test_an_output_folder_that_cannot_be_written(standin, capfd):
    standin.output.write_text("a file")
    assert standin.run("--tag", "a") == 1
    assert f"error: {standin.output}/standin/a: Not a directory" in capfd.readouterr().err


def test_a_killed_process_is_told_in_one_line(standin):
    process = standin.start("--tag", "a", "--num-processes", "2", STANDIN_SLEEP="0.2")
    until = time.monotonic() + 120
    while not (standin.output / "standin" / "a" / "model_0000004.pth").exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    ranks = [each for each in psutil.Process(process.pid).children() if "spawn_main" in " ".join(each.cmdline())]
    ranks[1].kill()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "Traceback" not in output
    assert "error: process 1 of 2 was killed (SIGKILL), perhaps for want of memory" in output


def test_long_pictures_and_no_test_set(root_dir, tmp_path, capfd):
    """Of 1x2000 pixels, a side would be resized to nothing."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for name, size in (("a", (1, 2000)), ("b", (2000, 1))):
        labels = np.zeros(size, np.uint8)
        labels.flat[1000:] = 1
        Image.fromarray(np.repeat(labels[..., None] * 90, 3, axis=2)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "m.yaml").write_text("images: images\nlabels: labels\nclasses: [grass, water]\n")
    config, name = str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"), f"('{tmp_path}/m.yaml',)"
    common = ("OUTPUT_DIR", str(tmp_path / "out"), "DATALOADER.NUM_WORKERS", "0", "DATASETS.TRAIN", name)
    start = ("--config-file", config, "--num-gpus", "0", "--tag", "a")
    assert main([*start, *common, "DATASETS.TEST", "()", "SOLVER.MAX_ITER", "2"]) == 0
    assert "DATASETS.TEST is empty: this training evaluates nothing" in capfd.readouterr().out
    weights = ("MODEL.WEIGHTS", str(tmp_path / "out/maskclippp_toy_clip-vit/a/model_final.pth"))
    assert main([*start, "--eval-only", *common, "DATASETS.TEST", name, *weights]) == 0
    # Neither an untrained head, nor a checkpoint without it, is evaluated; the original CLIP is.
    no_head = {"visual_encoder.mask_logit_scale": torch.load(weights[1])["model"]["visual_encoder.mask_logit_scale"]}
    torch.save(no_head, tmp_path / "no_head.pth")
    capfd.readouterr()
    for source, message in (
        ("", "MODEL.WEIGHTS is empty, it should hold psm."),
        ("no_head.pth", "no_head.pth lacks psm."),
    ):
        path = str(tmp_path / source) if source else ""
        assert main([*start, "--eval-only", *common, "DATASETS.TEST", name, "MODEL.WEIGHTS", path]) == 1
        err = capfd.readouterr().err
        assert message in err and "an untrained head is not evaluated" in err and err.count("\n") == 1
    original = ("MODEL.WEIGHTS", "''", "MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM")
    assert main([*start, "--eval-only", *common, "DATASETS.TEST", name, *original]) == 0


def test_wandb_without_a_key(standin, capfd, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(wandb.errors.UsageError("No API key\nadvice")))
    assert standin.run("--tag", "a", "WANDB.ENABLED", "True") == 1
    err = capfd.readouterr().err
    assert "WANDB.ENABLED: wandb does not start (No API key); run `wandb login`, or set WANDB_MODE=offline" in err
    assert err.count("\n") == 1


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
