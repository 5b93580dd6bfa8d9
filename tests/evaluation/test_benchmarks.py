"""The table of a benchmark, from result files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskclippp.data.datasets import DATASETS
from maskclippp.data.datasets.mess import DOMAINS
from maskclippp.evaluation.benchmarks import MESS, SEGMENTATION, mask_accuracy_table, segmentation_table, usable
from maskclippp.utils.errors import UserError


def write_results(folder: Path, suffix: str, results: object) -> Path:
    path = folder / f"t_{suffix}" / "inference" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(results))
    return path


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_segmentation(tmp_path) -> None:
    """In the order of the paper; sets that are not on disk say how they are made."""
    write_results(tmp_path, "ade847", {"openvocab_ade20k_full_sem_seg_val": {"sem_seg": {"mIoU": 14.52, "mACC": 1}}})
    panoptic = {"PQ": 27.7, "SQ": 72, "RQ": 33.6}
    tasks = {"sem_seg": {"mIoU": 37.1}, "panoptic_seg": panoptic, "segm": {"AP": None}}
    write_results(tmp_path, "ade150", {"openvocab_ade20k_panoptic_val": tasks})
    write_results(tmp_path, "pc20", {"openvocab_pascal20_sem_seg_val": {"sem_seg": {"mIoU": 96.4}}})
    table = cells(segmentation_table(tmp_path, "t", tmp_path / "nothing", failed=["pc20"]))
    assert list(table)[2:] == [each.title for each in SEGMENTATION]
    assert table["set"] == ["mIoU", "PQ", "SQ", "RQ", "AP", ""]
    assert table["A-847"] == ["14.5", "–", "–", "–", "–", ""]
    assert table["A-150"] == ["37.1", "27.7", "72.0", "33.6", "–", ""]
    assert table["PC-459"][-1] == "absent: python datasets/prepare_pascal_ctx_full_sem_seg.py"
    assert table["PAS-20"] == ["–"] * 5 + ["failed"]


def test_domains_are_means_of_their_sets(tmp_path) -> None:
    for suffix, dataset, value in [("mhp", "mhp_v1_sem_seg_test", 50.0), ("dram", "dram_sem_seg_test", 60.5)]:
        write_results(tmp_path, suffix, {dataset: {"mask_acc": {"mMaskAcc": value}}})
    write_results(tmp_path, "ade150", {"openvocab_ade20k_sem_seg_val": {"mask_acc": {"mMaskAcc": 67.0}}})
    table = cells(mask_accuracy_table(tmp_path, "t", tmp_path))
    assert table["General"] == ["55.2", "–", "–", "mean of 2 of 6 sets"]
    assert table["Medical"][-1] == "no result"
    assert table["A-150"] == ["67.0", "–", "–", "of openvocab_ade20k_sem_seg_val"]
    assert table["cwfid"] == ["–", "–", "–", "absent"]
    write_results(tmp_path, "cwfid", {"cwfid_sem_seg_test": {"sem_seg": {"mIoU": 1.0}}})
    assert cells(mask_accuracy_table(tmp_path, "t", tmp_path))["cwfid"][-1].startswith("other results in ")
    assert [title for title in table if title in DOMAINS] == list(DOMAINS)


def test_sets_of_the_domains() -> None:
    """22 sets: 6, 5, 4, 4, 3."""
    domains = [DATASETS[each.dataset].domain for each in MESS]
    assert [domains.count(domain) for domain in DOMAINS] == [6, 5, 4, 4, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": {}, "b": {}}, "no results of 'openvocab_ade20k_full_sem_seg_val' in it"),
        ([], "no results of"),
        ({"a": {"sem_seg": {"mIoU": "high"}}}, 'sem_seg/mIoU is "high", not a number'),
        ({"a": {"sem_seg": 4}}, "sem_seg/mIoU is NaN, not a number"),
    ],
)
def test_damaged_results(tmp_path, content, message) -> None:
    write_results(tmp_path, "ade847", content)
    with pytest.raises(UserError, match=message):
        segmentation_table(tmp_path, "t", tmp_path)


def test_command_line(tmp_path, root_dir) -> None:
    config = root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"
    path = write_results(
        tmp_path / config.stem, "ctx59", {"openvocab_pascal_ctx59_sem_seg_val": {"sem_seg": {"mIoU": 9}}}
    )
    call = [sys.executable, str(root_dir / "tools/summarize_results.py")]
    arguments = ["table", "segmentation", str(config), "t", "--failed", "", "--opts", "OUTPUT_DIR", str(tmp_path)]
    environment = os.environ | {"DETECTRON2_DATASETS": str(tmp_path)}
    done = subprocess.run([*call, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and cells(done.stdout)["PC-59"][0] == "9.0"
    path.write_text("{")
    done = subprocess.run([*call, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not usable(MESS, tmp_path)
