"""An evaluation that was killed goes on and ends with the numbers of one that was not."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode as CN
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
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


def test_identity_covers_the_vocabulary() -> None:
    cfg = default_config()
    metadata = {"stuff_classes": ["a", "b"], "thing_dataset_id_to_contiguous_id": {7: 1}, "ignore_label": 255}
    same = identity(cfg, "", [], metadata)
    assert same == identity(cfg, "", [], {**metadata, "stuff_classes": ["a", "b"]})
    for changed in (
        {"stuff_classes": ["b", "a"]},
        {"stuff_classes": ["a", "b, c"]},
        {"thing_dataset_id_to_contiguous_id": {"7": 1}},
        {"thing_dataset_id_to_contiguous_id": {7: 0}},
        {"ignore_label": 0},
    ):
        assert identity(cfg, "", [], {**metadata, **changed}) != same


def test_identity_covers_every_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    files = {name: tmp_path / name for name in ("a.jpg", "a.png", "pan.png", "i.json", "m.yaml", "g.pth", "gt/x/y.png")}
    files |= {name: tmp_path / name for name in ("masks/s/a.json", "table.json")}
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"first")
    cfg: CN = default_config()
    names = ("DATASETS.TEST", (str(files["m.yaml"]),), "MODEL.MASKCLIPPP.SEGMENTOR.PRETRAINED", str(files["g.pth"]))
    cfg.merge_from_list([*names, "MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR", "masks"])
    table = cfg.clone()
    table.merge_from_list(["MODEL.MASKCLIPPP.SEGMENTOR.OFFLINE_ANN_DIR", "table.json"])
    record = {"file_name": files["a.jpg"], "sem_seg_file_name": files["a.png"], "pan_seg_file_name": files["pan.png"]}
    records = [{key: str(path) for key, path in record.items()}]
    metadata = {"json_file": str(files["i.json"]), "gt_dir": str(tmp_path / "gt")}

    def both() -> tuple[str, str]:
        return identity(cfg, "", records, metadata), identity(table, "", records, metadata)

    before = both()
    for name, path in files.items():
        path.write_bytes(b"other bytes")
        after = both()
        assert after != before, name
        os.utime(path, ns=(1, 1))
        assert both() != after, name
        before = both()
    (tmp_path / "masks" / "s" / "b.json").touch()
    assert both() != before and both() == both()


def test_identity_of_many_pictures_is_fast(tmp_path) -> None:
    paths = [tmp_path / f"{index}.jpg" for index in range(5000)]
    for path in paths:
        path.touch()
    start = time.perf_counter()
    identity(default_config(), "", [{"file_name": str(path), "sem_seg_file_name": str(path)} for path in paths])
    assert time.perf_counter() - start < 2.0


@pytest.fixture
def own_set(tmp_path):
    """A dataset of one's own of six pictures, the fifth of them broken, and a function that mends it."""
    folder, rng = tmp_path / "own", np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(6):
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        Image.fromarray((pixels.argmax(2) % 4).astype(np.uint8)).save(folder / "labels" / f"{index}.png")
    whole = (folder / "images" / "4.png").read_bytes()
    (folder / "images" / "4.png").write_bytes(whole[:200])
    (folder / "classes.txt").write_text("red\ngreen\nblue\ngrey\n")
    (folder / "m.yaml").write_text("images: images\nlabels: labels\nclasses: classes.txt\n")
    yield folder, lambda: (folder / "images" / "4.png").write_bytes(whole)
    forget(folder)


def forget(folder) -> None:
    """Let the next evaluation in this process read the dataset anew, as another process would."""
    name = str(folder / "m.yaml")
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def change_picture(folder) -> None:
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(folder / "images" / "0.png")


def change_labels(folder) -> None:
    for index in (0, 1):
        Image.fromarray(np.full((24, 24), 2, np.uint8)).save(folder / "labels" / f"{index}.png")


def change_classes(folder) -> None:
    (folder / "classes.txt").write_text("blue\ngreen\nred\ngrey\n")


def change_ignored(folder) -> None:
    (folder / "m.yaml").write_text("images: images\nlabels: labels\nclasses: classes.txt\nignore_label: 200\n")
    labels = np.array(Image.open(folder / "labels" / "0.png"))
    labels[labels == 1] = 200
    Image.fromarray(labels).save(folder / "labels" / "0.png")


@pytest.mark.parametrize("change", [change_picture, change_labels, change_classes, change_ignored])
def test_an_evaluation_of_repaired_files_starts_over(standin, own_set, capfd, change) -> None:
    """It stops at a broken picture; what was counted before is repaired with it."""
    folder, mend = own_set
    options = (*OPTIONS, "DATASETS.TEST", f"('{folder}/m.yaml',)")

    def results(tag: str) -> dict:
        forget(folder)
        assert standin.run("--tag", tag, *options) == 0
        (tasks,) = json.loads((standin.output / "standin" / tag / "inference/results.json").read_text()).values()
        return tasks

    assert standin.run("--tag", "stopped", *options) == 1
    assert "4.png" in capfd.readouterr().err
    assert list((standin.output / "standin" / "stopped").rglob("state_0_of_1.pth"))
    mend()
    change(folder)
    found = results("stopped")
    assert "evaluation starts over" in capfd.readouterr().out
    assert found == results("fresh")


def test_results_hold_means_of_domains(standin, monkeypatch) -> None:
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
