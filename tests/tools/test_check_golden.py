"""Golden cases pass; whatever is changed in one makes it fail, with the reason on its line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from checks.golden import check_case, check_folder
from checks.golden.case import find_kind
from checks.golden.compare import Tolerance, compare_tensors, compare_values
from maskclippp.utils.errors import UserError
from tests.common import run_door

SUPPORTED = [
    "clip_convnext_mask_embed_beg3",
    "clip_convnext_mask_embed_beg5",
    "clip_rn_mask_embed",
    "clip_vit_mask_embed",
    "criterion_reweight_ce",
    "ensemble_void_open",
    "eval_mask_acc",
    "eval_mask_acc_panoptic",
    "eval_semantic",
    "fcclip_head",
    "inference_no_void",
    "inference_with_void",
    "mapper_panoptic",
    "mapper_semantic",
    "mapper_semantic_pad",
    "mask2former_head",
    "psm_dummy",
    "psm_linear",
    "psm_pseudo_text",
    "psm_pseudo_text_residual",
    "text_classifier_clip_quickgelu_t1",
    "text_classifier_clip_t1",
    "text_classifier_clip_t14",
]


@pytest.fixture
def golden(shared_dir) -> Path:
    return shared_dir / "golden"


def copy_case(golden: Path, name: str, folder: Path, new_name: str | None = None) -> Path:
    """Copy both files, writable; return the new JSON."""
    for suffix in (".json", ".safetensors"):
        target = folder / f"{new_name or name}{suffix}"
        shutil.copyfile(golden / f"{name}{suffix}", target)
    return folder / f"{new_name or name}.json"


def change(path: Path, tensors: dict[str, torch.Tensor] | None = None, **meta) -> None:
    """Replace tensors and JSON keys of a copied case."""
    if tensors:
        weights = path.with_suffix(".safetensors")
        save_file({**load_file(weights), **tensors}, weights)
    path.write_text(json.dumps({**json.loads(path.read_text()), **meta}))


@pytest.mark.parametrize("name", SUPPORTED)
def test_supported_cases_pass(golden, name):
    report = check_case(golden / f"{name}.json")
    assert (report.verdict, report.reason) == ("PASS", "")
    assert report.absolute <= 1e-4


@pytest.mark.parametrize("name", ["infer_full_fcclip", "infer_full_m2f"])
def test_whole_systems_pass(golden, name):
    report = check_case(golden / f"{name}.json")
    assert (report.verdict, report.reason) == ("PASS", "")
    assert report.absolute <= 2**-11  # masks are stored in float16


def test_a_pixel_of_a_panoptic_map_counts_unless_it_is_a_tie(golden, tmp_path):
    path = copy_case(golden, "infer_full_fcclip", tmp_path)
    stored = load_file(path.with_suffix(".safetensors"))["out.panoptic_seg.0"]
    stored[0, 0] = 3 - stored[0, 0]
    change(path, {"out.panoptic_seg.0": stored})
    assert check_case(path).reason == "out.panoptic_seg.0: 1 of 6984 values differ"


def test_other_kinds_are_unsupported(golden):
    others = sorted({path.stem for path in golden.glob("*.json")} - set(SUPPORTED))
    assert len(others) > 20
    unsupported = [
        name for name in others if find_kind(name, json.loads((golden / f"{name}.json").read_text())) is None
    ]
    assert {check_case(golden / f"{name}.json").verdict for name in unsupported} == {"UNSUPPORTED"}


def test_the_json_tells_the_kind(golden, tmp_path):
    path = copy_case(golden, "psm_linear", tmp_path, "some_other_name")
    assert check_case(path).verdict == "PASS"
    change(path, case="7")
    assert check_case(path).verdict == "UNSUPPORTED"
    renamed = copy_case(golden, "psm_linear", tmp_path, "psm_linear_of_another_size")
    change(renamed, case="7")
    assert check_case(renamed).verdict == "PASS"


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("psm_linear", "param.psm.corr_proj_in.0.weight"),
        ("psm_linear", "out.corrs"),
        ("psm_dummy", "out.corrs"),
        ("criterion_reweight_ce", "out.loss.ignored_bal1"),
        ("criterion_reweight_ce", "out.grad_corrs.bal0_empty1_T1.0"),
        ("clip_vit_mask_embed", "param.visual_encoder.mask_logit_scale"),
        ("clip_vit_mask_embed", "out.canvas"),
        ("inference_with_void", "out.panoptic_seg"),
        ("ensemble_void_open", "out.with_void.1"),
        ("eval_semantic", "out.confusion"),
        ("mapper_semantic", "out.gt_masks"),
    ],
)
def test_a_changed_tensor_fails(golden, tmp_path, name, tensor):
    path = copy_case(golden, name, tmp_path)
    value = load_file(path.with_suffix(".safetensors"))[tensor].clone()
    value.view(-1)[0] += 1
    change(path, {tensor: value})
    report = check_case(path)
    assert report.verdict == "FAIL"
    assert "differ" in report.reason


def test_a_changed_metric_fails(golden, tmp_path):
    path = copy_case(golden, "eval_mask_acc", tmp_path)
    change(path, expected={"mMaskAcc": 86.1111111111111 + 1e-8, "MaskAcc-class6": None})
    report = check_case(path)
    assert report.verdict == "FAIL"
    assert "json" not in report.reason and "mMaskAcc" in report.reason


def test_changed_segments_fail(golden, tmp_path):
    path = copy_case(golden, "inference_no_void", tmp_path)
    segments = json.loads(path.read_text())["segments_info"]
    segments[1]["category_id"] += 1
    change(path, segments_info=segments)
    assert "segments_info[1]['category_id']" in check_case(path).reason


def test_an_output_that_nothing_is_compared_with_fails(golden, tmp_path):
    path = copy_case(golden, "psm_dummy", tmp_path)
    change(path, {"out.batched.corrs": torch.zeros(1)})
    assert check_case(path).verdict == "PASS"
    change(path, {"out.other": torch.zeros(1)})
    report = check_case(path)
    assert (report.verdict, report.reason) == ("FAIL", "never compared: out.other")


def test_a_missing_or_unexpected_weight_fails(golden, tmp_path):
    path = copy_case(golden, "psm_linear", tmp_path)
    change(path, {"param.psm.more": torch.zeros(1)})
    assert "psm.more" in check_case(path).reason


def test_the_stated_tolerance_holds(golden, tmp_path):
    path = copy_case(golden, "psm_dummy", tmp_path)
    value = load_file(path.with_suffix(".safetensors"))["out.corrs"] + 1e-3
    change(path, {"out.corrs": value})
    assert check_case(path).verdict == "FAIL"
    change(path, tolerance=2e-3)
    assert check_case(path).verdict == "PASS"
    change(path, tolerance="about")
    assert "'about'" in check_case(path).reason


def test_missing_and_damaged_files(golden, tmp_path):
    path = copy_case(golden, "psm_dummy", tmp_path)
    path.with_suffix(".safetensors").write_bytes(b"not a tensor file")
    assert "psm_dummy.safetensors cannot be read" in check_case(path).reason
    path.with_suffix(".safetensors").unlink()
    assert "psm_dummy.safetensors is missing beside psm_dummy.json" in check_case(path).reason
    path.write_text("{")
    assert "psm_dummy.json is not JSON" in check_case(path).reason
    path.unlink()
    assert "psm_dummy.json is missing" in check_case(path).reason


def test_folder_errors(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        check_folder(tmp_path / "nothing")
    with pytest.raises(UserError, match="no case that matches"):
        check_folder(tmp_path, "psm")


def test_door(golden, root_dir, tmp_path, monkeypatch, capsys):
    door = root_dir / "tools/check_golden.py"
    copy_case(golden, "psm_dummy", tmp_path)
    bad = copy_case(golden, "psm_linear", tmp_path)
    copy_case(golden, "swin", tmp_path)
    change(bad, {"out.corrs": torch.zeros(7, 9)}, case="psm_linear")
    change(tmp_path / "swin.json", case="of a kind that nobody knows")
    (tmp_path / "swin.json").rename(tmp_path / "unknown.json")
    assert run_door(monkeypatch, door, str(tmp_path), "--only", "psm_dummy") == 0
    assert capsys.readouterr().out.splitlines() == ["psm_dummy 0 0 PASS", "1 PASS, 0 FAIL, 0 UNSUPPORTED"]
    (tmp_path / "swin.safetensors").unlink()
    assert run_door(monkeypatch, door, str(tmp_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "psm_dummy 0 0 PASS"
    assert lines[1].startswith("psm_linear ") and " FAIL out.corrs" in lines[1]
    assert lines[2:] == ["unknown - - UNSUPPORTED", "1 PASS, 1 FAIL, 1 UNSUPPORTED"]
    assert str(run_door(monkeypatch, door, str(tmp_path / "nothing"))).startswith("error: ")


def test_several_pictures(golden, tmp_path):
    """Two pictures of one size, one without masks: outputs may be stored per picture."""
    path = copy_case(golden, "clip_vit_mask_embed", tmp_path)
    weights = load_file(path.with_suffix(".safetensors"))
    extra = {
        "in.image.1": weights["in.image.0"].flip(-1).contiguous(),
        "in.masks.1": torch.zeros(0, 80, 112),
        "out.m_embs.1": torch.zeros(0, 48),
        "out.areas.1": torch.zeros(0),
        "out.block2.0": weights["out.block2"][0].clone(),
    }
    kept = {key: value for key, value in weights.items() if key not in ("out.block2", "out.canvas")}
    save_file(kept | extra, path.with_suffix(".safetensors"))
    report = check_case(path)
    assert (report.verdict, report.reason) == ("PASS", "")


def test_comparison_of_tensors():
    tolerance = Tolerance(1e-3)
    assert compare_tensors("x", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0005]), tolerance).problem is None
    assert "1 of 2" in compare_tensors("x", torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.01]), tolerance).problem
    assert compare_tensors("x", torch.tensor([1, 2]), torch.tensor([1, 3]), Tolerance(10.0)).problem
    assert compare_tensors("x", torch.tensor([float("nan")]), torch.tensor([1.0]), tolerance).problem
    assert compare_tensors("x", torch.tensor([-torch.inf]), torch.tensor([-torch.inf]), tolerance).problem is None
    assert "shape" in compare_tensors("x", torch.zeros(2), torch.zeros(3), tolerance).problem
    assert compare_tensors("x", torch.zeros(0, 8), torch.zeros(0, 7), tolerance).problem is None


def test_comparison_of_json_values():
    assert compare_values("e", {"a": 1.0, "b": float("nan"), "c": 3}, {"a": 1.0, "b": None}).problem is None
    assert "was not computed" in compare_values("e", {}, {"a": 1.0}).problem
    assert compare_values("e", {"a": 1.0 + 2e-9}, {"a": 1.0}).problem
    assert compare_values("e", [{"isthing": True}], [{"isthing": False}]).problem
    assert compare_values("e", [1], [1, 2]).problem
