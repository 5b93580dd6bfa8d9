"""Cases with several pictures: each as in a case of its own, however they are stored; one other number is a failure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from safetensors.torch import load_file, save_file
from torch import Tensor

from checks.golden import check_case
from checks.golden.case import find_kind, read_case
from maskclippp.config import default_config
from maskclippp.mask_generators import build_mask_generator
from maskclippp.visual_encoders.swin import SwinTransformer
from tests.mask_generators.tiny import CHANNELS, STRIDES, TEXT_WIDTH, random_maps, random_text, scatter, tiny_config

# Golden cases of one picture: the inputs that belong to it, and whether its results have a batch dimension of one.
KINDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "mask2former_head": (("res2_f", "res3_f", "res4_f", "res5_f"), True),
    "fcclip_head": (("stage1_f", "stage2_f", "stage3_f", "stage4_f"), True),
    "swin": (("image",), True),
    "clip_vit_mask_embed": (("image", "masks"), True),
    "clip_convnext_mask_embed_beg3": (("image", "masks"), True),
    "clip_rn_mask_embed": (("image", "masks"), True),
    "eva_vit_mask_embed": (("image", "masks"), True),
    "psm_linear": (("corrs",), False),
    "psm_dummy": (("corrs",), False),
    "inference_with_void": (("mask_cls", "mask_pred"), False),
    "inference_no_void": (("mask_cls", "mask_pred"), False),
    "mapper_semantic": (("image", "sem_seg"), False),
    "mapper_semantic_pad": (("image", "sem_seg"), False),
    "mapper_panoptic": (("image", "panoptic_ids"), False),
    "infer_gt_masks_eva": (("image", "gt_sem_seg", "output_size"), False),
    "infer_full_m2f": (("image", "output_size"), False),
}
SHARED = ("test_t_embs", "test_t_embs_f", "category_overlapping_mask")


@pytest.fixture
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden"


def write(path: Path, tensors: dict[str, Tensor], meta: dict) -> Path:
    """Write both files of a case; return the JSON."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path.with_suffix(".safetensors"))
    path.write_text(json.dumps(meta))
    return path


def reason(path: Path) -> str:
    report = check_case(path)
    assert report.verdict == ("FAIL" if report.reason else "PASS")
    return report.reason


def picture_of(tensors: dict[str, Tensor], prefix: str, batched: bool) -> dict[str, Tensor]:
    """The tensors of the only picture, by name without number and without a batch dimension."""
    found = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            number = name.endswith(".0") and not name.startswith("multi_scale")
            is_batch = batched and not number and value.dim() > 2 and len(value) == 1
            found[name.removesuffix(".0") if number else name] = value[0] if is_batch else value
    return found


def store(values: dict[str, list[Tensor]], prefix: str, form: str) -> dict[str, Tensor]:
    """Numbered, or stacked where the shapes allow it."""
    tensors = {}
    for name, each in values.items():
        if form == "stacked" and len({value.shape for value in each}) == 1:
            tensors[f"{prefix}{name}"] = torch.stack(each)
        else:
            tensors |= {f"{prefix}{name}.{index}": value for index, value in enumerate(each)}
    return tensors


def two_pictures(golden: Path, name: str, folder: Path, form: str) -> Path:
    """A case of the golden picture and its mirror image; their results come from two cases of one picture."""
    inputs, batched = KINDS[name]
    first = read_case(golden / f"{name}.json")
    flipped = {}
    for key, value in first.tensors.items():
        mine = key.startswith("in.") and key.removeprefix("in.").removesuffix(".0") in inputs
        axis = 0 if key == "in.mask_cls" else -1
        flipped[key] = value.flip(axis) if mine and "output_size" not in key else value
    second = read_case(write(folder / f"{name}.json", flipped, first.meta))
    results = [dict(find_kind(name, first.meta).compute(case)) for case in (first, second)]
    stored = {key: [result[key].detach() for result in results] for key in first.outputs()}
    per_picture = [picture_of({key: value[index] for key, value in stored.items()}, "", batched) for index in range(2)]
    given = [picture_of(case.tensors, "in.", batched) for case in (first, second)]
    tensors = {key: value for key, value in first.tensors.items() if key.startswith("param")}
    tensors |= {f"in.{key}": value for key, value in given[0].items() if key not in inputs}
    tensors |= store({key: [case[key] for case in given] for key in inputs}, "in.", form)
    names = [key for key in per_picture[0] if key not in SHARED]
    tensors |= {f"out.{key}": per_picture[0][key] for key in SHARED if key in per_picture[0]}
    tensors |= store({key: [case[key] for case in per_picture] for key in names}, "out.", form)
    meta = {key: value for key, value in first.meta.items() if key not in ("image_sizes", "num_masks")}
    if "segments_info" in meta:
        computed = [result.get("json.segments_info", meta["segments_info"]) for result in results]
        meta["segments_info"] = [each[0] if isinstance(each[0], list) else each for each in computed]
    return write(folder / f"{name}.json", tensors, meta)


def change_last(path: Path, key: str) -> None:
    """Change one number of the last picture's part of a tensor."""
    tensors = load_file(path.with_suffix(".safetensors"))
    value = tensors[key].clone()
    value.view(-1)[-1] = value.view(-1)[-1] + 1
    save_file(tensors | {key: value}, path.with_suffix(".safetensors"))


@pytest.mark.parametrize("form", ["stacked", "numbered"])
@pytest.mark.parametrize("name", list(KINDS))
def test_two_pictures_are_two_cases_of_one(golden: Path, tmp_path: Path, name: str, form: str) -> None:
    path = two_pictures(golden, name, tmp_path, form)
    assert reason(path) == ""
    stored = load_file(path.with_suffix(".safetensors"))
    outputs = [key for key in stored if key.startswith("out.") and key.removeprefix("out.") not in SHARED]
    numbered = [key for key in outputs if key.endswith(".1") and not key.startswith("out.multi_scale")]
    assert form == "numbered" or any(len(stored[key]) == 2 for key in outputs)
    for key in numbered or outputs[:2]:
        if stored[key].numel() and "panoptic_seg" not in key:
            change_last(path, key)
            assert f"{key}: 1 of {stored[key].numel()} values differ" in reason(path)
            save_file(stored, path.with_suffix(".safetensors"))


def test_segments_of_the_second_picture_count(golden: Path, tmp_path: Path) -> None:
    path = two_pictures(golden, "inference_no_void", tmp_path, "stacked")
    meta = json.loads(path.read_text())
    meta["segments_info"][1][0]["category_id"] += 1
    path.write_text(json.dumps(meta))
    assert "segments_info[1][0]['category_id']" in reason(path)


# Heads and backbones with weights of our own: nothing but torch between them and the stored results.


def head_case(folder: Path, name: str, maps: list[list[Tensor]], form: str) -> Path:
    """A case of a generator's head, from its modules; ``maps``: of each picture, the finest first."""
    is_open = name == "fcclip_head"
    cfg = tiny_config("FCCLIPSegmentor" if is_open else "Mask2FormerSegmentor")
    torch.manual_seed(0)
    generator = build_mask_generator(cfg, _shapes(is_open))
    scatter(generator)
    text = random_text() if is_open else None
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for picture in maps:
            features = [each[None] for each in picture]
            mask_features, levels = generator.sem_seg_head.pixel_decoder(features)
            (last,) = generator.sem_seg_head(features, generator.class_texts(text))
            results = {"mask_features": mask_features, "pred_mask_logits": last.mask_logits}
            results |= {f"multi_scale.{index}": level for index, level in enumerate(levels)}
            results |= {"pred_masks": last.mask_logits.sigmoid(), "pred_logits": last.class_logits}
            for key, value in results.items():
                found.setdefault(key, []).append(value[0])
    tensors = {f"param.{key}": value for key, value in generator.state_dict().items()}
    tensors |= store({key: list(each) for key, each in zip(STRIDES, zip(*maps, strict=True), strict=True)}, "in.", form)
    if is_open:
        counts = torch.bincount(text.class_index)
        tensors |= {"in.text_embeddings": text.embeddings[:, 0], "in.num_synonyms": counts}
    sizes = {"NHEADS": 2, "ENC": 2, "DEC": 4, "Q": 7, "HID": 32, "MDIM": 32, "FF": 48, "NCLS": 5}
    meta = {
        "case": name,
        "cfg": sizes | ({"CLIP_DIM": TEXT_WIDTH} if is_open else {}),
        "feature_channels": list(CHANNELS.values()),
        "feature_strides": list(STRIDES.values()),
    }
    return write(folder / f"{name}_batch.json", tensors | store(found, "out.", form), meta)


def _shapes(is_open: bool) -> dict[str, ShapeSpec]:
    shapes = {name: ShapeSpec(channels=CHANNELS[name], stride=stride) for name, stride in STRIDES.items()}
    return shapes | ({"emb_f": ShapeSpec(channels=TEXT_WIDTH)} if is_open else {})


@pytest.mark.parametrize("name", ["mask2former_head", "fcclip_head"])
@pytest.mark.parametrize(("form", "sizes"), [("stacked", [(64, 96)] * 3), ("numbered", [(64, 96), (96, 64)])])
def test_heads_on_batches(tmp_path: Path, name: str, form: str, sizes: list[tuple[int, int]]) -> None:
    maps = [[each[0] for each in random_maps(*size, seed=seed)] for seed, size in enumerate(sizes)]
    path = head_case(tmp_path, name, maps, form)
    assert reason(path) == ""
    suffix = "" if form == "stacked" else ".1"
    for key in ("pred_masks", "pred_logits", "multi_scale.0"):
        change_last(path, f"out.{key}{suffix}")
    failures = reason(path)
    assert all(f"out.{key}{suffix}: 1 of" in failures for key in ("pred_masks", "pred_logits", "multi_scale.0"))


def swin_case(folder: Path, images: Sequence[Tensor], canvas: tuple[int, int], given: str, form: str) -> Path:
    """A case of a Swin of our own on a canvas of that size; ``given``: "image", "canvas" or both."""
    node = {"EMBED_DIM": 8, "DEPTHS": [1, 2, 1, 1], "NUM_HEADS": [1, 2, 2, 4], "WINDOW_SIZE": 3, "PATCH_NORM": True}
    cfg = default_config()
    cfg.MODEL.SWIN.merge_from_list([item for pair in node.items() for item in pair])
    torch.manual_seed(0)
    swin = SwinTransformer(cfg).eval()
    scatter(swin)
    mean, std = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 55.0, 60.0])
    pixels = torch.zeros(len(images), 3, *canvas)
    for index, image in enumerate(images):
        pixels[index, :, : image.shape[1], : image.shape[2]] = (image - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        features = swin(pixels)
    tensors = {f"param.backbone.{key}": value for key, value in swin.state_dict().items()}
    if "image" in given:
        tensors |= {f"in.image.{index}": image for index, image in enumerate(images)}
    tensors |= store({"canvas": list(pixels)}, "in." if "canvas" in given else "out.", form)
    tensors |= store({name: list(feature) for name, feature in features.items()}, "out.", form)
    options = {"PIXEL_MEAN": mean.tolist(), "PIXEL_STD": std.tolist(), "SIZE_DIVISIBILITY": 32}
    return write(folder / "swin_canvas.json", tensors, {"case": "swin", "cfg": node | options})


@pytest.mark.parametrize("form", ["stacked", "numbered"])
@pytest.mark.parametrize("given", ["image", "canvas", "image and canvas"])
@pytest.mark.parametrize(
    ("sizes", "canvas"),
    [
        ([(60, 90)], (64, 96)),
        ([(60, 90)], (96, 160)),  # larger than it needs
        ([(60, 90), (70, 50)], (96, 96)),  # has room for both
        ([(60, 90), (40, 50), (64, 96)], (64, 96)),
        ([(50, 70), (33, 40)], (50, 70)),  # not a multiple of the divisibility
    ],
)
def test_swin_on_a_stored_canvas(
    tmp_path: Path, sizes: list[tuple[int, int]], canvas: tuple[int, int], given: str, form: str
) -> None:
    images = [torch.rand(3, *size, generator=torch.Generator().manual_seed(size[0])) * 255 for size in sizes]
    path = swin_case(tmp_path, images, canvas, given, form)
    assert reason(path) == ""
    key = "out.res5" if form == "stacked" else f"out.res5.{len(images) - 1}"
    change_last(path, key)
    assert f"{key}: 1 of" in reason(path)


def test_a_stored_canvas_is_held_against_the_pictures(tmp_path: Path) -> None:
    path = swin_case(tmp_path, [torch.rand(3, 60, 90) * 255], (64, 96), "image and canvas", "stacked")
    change_last(path, "in.canvas")
    assert "in.canvas: picture 0 is off by 1" in reason(path)
    path = swin_case(tmp_path, [torch.rand(3, 60, 90) * 255], (64, 96), "image", "stacked")
    change_last(path, "out.canvas")
    assert "out.canvas: 1 of" in reason(path)
    tensors = load_file(path.with_suffix(".safetensors"))
    save_file(tensors | {"out.canvas": torch.zeros(1, 3, 32, 96)}, path.with_suffix(".safetensors"))
    assert "picture 0 is 60x90, larger than the stored canvas of 32x96" in reason(path)
    save_file(tensors | {"out.canvas": torch.zeros(2, 3, 64, 96)}, path.with_suffix(".safetensors"))
    assert "1 pictures, but 2 on the stored canvas" in reason(path)


# Kinds whose pictures are of several sizes or have several numbers of masks: filled up to stack them.


def filled(values: Sequence[Tensor], with_value: float = 0) -> Tensor:
    """Stack tensors of several shapes."""
    shape = [max(sides) for sides in zip(*(value.shape for value in values), strict=True)]
    stack = values[0].new_full((len(values), *shape), with_value)
    for index, value in enumerate(values):
        stack[(index, *map(slice, value.shape))] = value
    return stack


def restacked(golden: Path, name: str, folder: Path, fills: dict[str, float], **meta) -> tuple[Path, dict[str, Tensor]]:
    """A golden case of several pictures with the named tensors (with prefix) stacked instead of numbered."""
    case = read_case(golden / f"{name}.json")
    tensors = dict(case.tensors)
    for key, fill in fills.items():
        parts = [tensors.pop(f"{key}.{index}") for index in range(len([k for k in tensors if _numbered(k, key)]))]
        tensors[key] = filled(parts, fill)
    return write(folder / f"{name}.json", tensors, case.meta | meta), tensors


def _numbered(key: str, name: str) -> bool:
    return key.startswith(f"{name}.") and key.removeprefix(f"{name}.").isdigit()


@pytest.mark.parametrize(
    ("name", "fills", "changed"),
    [
        (
            "eva_vit_batch",
            {"in.image": 9.0, "in.masks": 1.0, "out.m_embs": 9.0, "out.areas": 9.0, "out.block2": 0.0},
            ["out.m_embs", "out.areas", "out.block2"],
        ),
        ("psm_pseudo_text", {"in.m_embs": 9.0}, ["out.corrs"]),
        (
            "ensemble_void_open",
            {"in.logits": 0.0, "in.segmentor_logits": 0.0, "out.with_void": 3.0, "out.ensembled.1": 3.0},
            ["out.with_void", "out.ensembled.1", "out.ensembled_with_void.2.1"],
        ),
        ("ensemble_void_closed", {"in.logits": 0.0, "in.segmentor_logits": 0.0}, ["out.with_void.1"]),
        ("criterion_reweight_ce", {"in.areas": 4.0}, ["out.loss.ignored_bal1"]),
    ],
)
def test_stacks_that_are_filled_up(
    golden: Path, tmp_path: Path, name: str, fills: dict[str, float], changed: list[str]
) -> None:
    path, tensors = restacked(golden, name, tmp_path, fills)
    assert reason(path) == ""
    counts = json.loads(path.read_text())["num_masks"]
    for key in changed:
        value = tensors[key].clone()
        place = value[-1][counts[-1] - 1] if key in fills and value.dim() > 1 and key != "out.block2" else value
        place.view(-1)[-1] += 1
        save_file(tensors | {key: value}, path.with_suffix(".safetensors"))
        assert f"{key}: 1 of" in reason(path)


def test_a_filled_stack_says_how_many_masks_count(golden: Path, tmp_path: Path) -> None:
    """Else a result that is too short would pass."""
    path, _ = restacked(golden, "eva_vit_batch", tmp_path, {"out.m_embs": 0.0}, num_masks=[])
    assert "out.m_embs has shape (2, 6, 48), but the pictures' results are (3, 48), (6, 48)" in reason(path)


def test_a_training_step_on_stacked_pictures(golden: Path, tmp_path: Path) -> None:
    sizes, counts = [[80, 96], [64, 64]], [5, 3]
    fills = {"in.image": 7, "in.masks": 1, "in.labels": -1}
    path, tensors = restacked(golden, "train_step_eva_batch", tmp_path, fills, image_sizes=sizes, num_masks=counts)
    assert reason(path) == ""
    tensors["in.image"][1, 0, 0, 0] ^= 255
    save_file({key: value.contiguous() for key, value in tensors.items()}, path.with_suffix(".safetensors"))
    assert reason(path) != ""


@pytest.mark.parametrize(
    ("name", "fills"),
    [
        ("eval_semantic", {"in.gt": 0, "in.pred": 1}),
        ("eval_mask_acc", {"in.gt": 0, "in.pred_classes": 1}),
        ("eval_mask_acc_panoptic", {"in.gt_classes": 0, "in.pred_classes": 1}),
        ("eval_panoptic", {"in.gt_ids": 0, "in.pred_ids": 0}),
    ],
)
def test_metrics_of_stacked_pictures(golden: Path, tmp_path: Path, name: str, fills: dict[str, float]) -> None:
    stored = load_file(golden / f"{name}.safetensors")
    maps = next((key for key in fills if key in ("in.gt", "in.gt_ids")), "in.gt_classes")
    shapes = [list(stored[f"{maps}.{index}"].shape) for index in range(3)]
    counts = [len(stored[f"in.pred_classes.{index}"]) for index in range(3)] if "in.pred_classes" in fills else []
    path, tensors = restacked(golden, name, tmp_path, fills, image_sizes=shapes, num_masks=counts)
    assert reason(path) == ""
    key = list(fills)[-1]
    tensors[key][2].view(-1)[0] += 1
    save_file(tensors, path.with_suffix(".safetensors"))
    assert reason(path) != ""


def test_text_logits_of_stacked_pictures(golden: Path, tmp_path: Path) -> None:
    case = read_case(golden / "text_classifier_clip_t1.json")
    dropped = ("out.logits", "in.mask2batch", "in.corrs")
    tensors = {key: value for key, value in case.tensors.items() if not key.startswith(dropped)}
    corrs = case.input("corrs")[:6]
    stored = [case.outputs()["logits.0"], case.outputs()["logits.2"]]
    tensors |= {"in.corrs": corrs.view(2, 3, -1), "out.logits": torch.cat(stored)[:6].view(2, 3, -1)}
    path = write(tmp_path / "text_classifier_clip_t1.json", tensors, case.meta)
    assert reason(path) == ""
    change_last(path, "out.logits")
    assert "out.logits: 1 of" in reason(path)


def test_pictures_after_one_without_masks_need_not_follow(golden: Path, tmp_path: Path) -> None:
    """The last picture has no masks: ``mask2batch`` does not name it."""
    case = read_case(golden / "text_classifier_clip_t1.json")
    extra = {"out.logits.3": torch.zeros(0, 7), "out.logits_with_void.3": torch.zeros(0, 7)}
    path = write(tmp_path / "text_classifier_clip_t1.json", case.tensors | extra, case.meta)
    assert reason(path) == ""


def test_a_tensor_of_the_wrong_rank_is_said(golden: Path, tmp_path: Path) -> None:
    case = read_case(golden / "psm_linear.json")
    path = write(tmp_path / "psm_linear.json", case.tensors | {"in.corrs": torch.zeros(4)}, case.meta)
    assert "in.corrs has shape (4,), expected 3 dimensions for each picture" in reason(path)


def test_masks_of_a_case_that_begins_with_the_canvas(golden: Path, tmp_path: Path) -> None:
    """They lie on the unpadded picture, which is not there."""
    case = read_case(golden / "clip_convnext_mask_embed_beg3.json")
    tensors = {key: value for key, value in case.tensors.items() if not key.startswith("in.image")}
    path = write(tmp_path / "clip_convnext_mask_embed_beg3.json", tensors, case.meta)
    assert reason(path) == ""
    tensors["in.masks.0"] = F.pad(tensors["in.masks.0"], (0, 10))  # on the canvas already
    path = write(path, tensors, {key: value for key, value in case.meta.items() if key != "image_sizes"})
    assert reason(path) == ""
