"""check_configs: what passes, what is not there yet, and one line about everything that is wrong."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from checks import configs
from checks.configs import build_on_meta, check_configs
from maskclippp.config import load_config
from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import weights_are_skipped

TOY = "configs/toy/maskclippp_toy_clip-vit.yaml"
RN50 = "configs/coco-pan/clip-rn50x16/fcclip-b/maskclippp_coco-pan_clip-rn50x16_fcclip-b.yaml"
WTEXT = "configs/coco-stuff/eva-clip-vit-l-14-336/maskclippp_coco-stuff_eva-clip-vit-l-14-336_wtext.yaml"
GIANT = "configs/coco-pan/eva-clip-vit-g-14-plus/maskclippp_coco-pan_eva-clip-vit-g-14-plus.yaml"


def toy_with(root_dir: Path, folder: Path, text: str) -> Path:
    path = folder / "leaf.yaml"
    path.write_text(f"_BASE_: {root_dir / TOY}\n{text}")
    return path


def only_problem(path: Path) -> str:
    [report] = check_configs([path])
    assert str(report).startswith(f"{path} FAIL ") and "\n" not in str(report)
    [problem] = report.problems
    return problem


@pytest.mark.parametrize("name", [RN50, WTEXT, GIANT])
def test_published_configs_pass(name, root_dir, shared_dir):
    [report] = check_configs([root_dir / name], shared_dir / "spec" / "published_configs.json")
    assert not report.problems and report.compared
    assert not weights_are_skipped()


def test_a_file_written_for_the_published_code_passes(shared_dir, tmp_path):
    published = shared_dir / "spec" / "published_configs.json"
    content = json.loads(published.read_text())
    leaf = tmp_path / WTEXT
    leaf.parent.mkdir(parents=True)
    sizes = '!!python/object/apply:eval ["[int(x * 0.1 * 448) for x in range(3, 20)]"]'
    (tmp_path / "Base.yaml").write_text("".join(f"{key}: {value!r}\n" for key, value in content["common"].items()))
    values = content["configs"][WTEXT] | {"INPUT.MIN_SIZE_TRAIN": None}
    text = "".join(f"{key}: {sizes if value is None else repr(value)}\n" for key, value in values.items())
    leaf.write_text(f"_BASE_: ../../../Base.yaml\n{text}")
    base, report = check_configs([tmp_path], published)
    assert "a base of other configs" in str(base)
    assert report.compared and not report.problems


def test_names_and_values_of_every_config(root_dir, shared_dir, monkeypatch):
    monkeypatch.setattr(configs, "build_on_meta", lambda cfg: None)
    reports = list(check_configs([root_dir / "configs"], shared_dir / "spec" / "published_configs.json"))
    assert not [str(report) for report in reports if report.problems]
    assert sum(report.compared for report in reports) == 26


def test_an_unknown_generator_is_an_error(root_dir, tmp_path):
    path = toy_with(root_dir, tmp_path, "MODEL: {MASKCLIPPP: {SEGMENTOR: {NAME: GTSegmenter}}}\n")
    assert only_problem(path).startswith(
        "MODEL.MASKCLIPPP.SEGMENTOR.NAME 'GTSegmenter' is no mask generator; did you mean GTSegmentor, PanGTSegmentor"
    )


def test_models_on_meta_have_no_memory_and_the_config_stays(root_dir):
    cfg = load_config(root_dir / TOY)
    cfg.freeze()
    model = build_on_meta(cfg)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert cfg == load_config(root_dir / TOY)


def test_masks_on_disk_are_not_asked_for(root_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = root_dir / "configs/toy/maskclippp_toy_clip-vit_offline.yaml"
    [report] = check_configs([path])
    assert str(report) == f"{path} OK"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "MODEL: {META_ARCHITECTURE: MaskCLIP++}",
            "'MaskCLIP++' is no meta-architecture; did you mean MaskCLIPpp",
        ),
        ("MODEL: {META_ARCHITECTURE: GeneralizedRCNN}", "'GeneralizedRCNN' is no meta-architecture; valid: "),
        (
            "MODEL: {MASKCLIPPP: {VISUAL_ENCODER: {NAME: CLIPVit}}}",
            "'CLIPVit' is no visual encoder; did you mean",
        ),
        ("MODEL: {MASKCLIPPP: {VISUAL_ENCODER: {NAME: none}}}", "VISUAL_ENCODER.NAME 'none' is no visual encoder"),
        ("MODEL: {MASKCLIPPP: {TEXT_ENCODER: {NAME: X}}}", "TEXT_ENCODER.NAME 'X' is no text encoder; valid: CLIPText"),
        ("MODEL: {MASKCLIPPP: {PSM: {NAME: LinerPSM}}}", "'LinerPSM' is no similarity head; did you mean LinearPSM"),
        ("MODEL: {MASKCLIPPP: {CRITERION: {NAME: CE}}}", "'CE' is no criterion; valid: ReweightCELoss"),
        ("MODEL: {MASKCLIPPP: {TEMPLATES: t15}}", "no templates are called 't15'"),
        (
            "MODEL: {MASKCLIPPP: {VISUAL_ENCODER: {MODEL_NAME: ViT-B-61}}}",
            "'ViT-B-61' is not an open_clip model",
        ),
        (
            "MODEL: {MASKCLIPPP: {TEXT_ENCODER: {MODEL_NAME: ViT-B-16, PRETRAINED: openia}}}",
            "'openia' is neither a file nor a tag of ViT-B-16: ViT-B-16 has openai, laion400m_e31",
        ),
        ("MODEL: {MASKCLIPPP: {VISUAL_ENCODER: {FINETUNE_TYPE: attn}}}", "FINETUNE_TYPE 'attn' of CLIPViT: valid are"),
        ("MODEL: {MASKCLIPPP: {VISUAL_ENCODER: {MASK_PRIOR_BEG: 99}}}", "MASK_PRIOR_BEG 99"),
        ("MODEL: {MASKCLIPPP: {PSM: {NUM_HEAD: 8}}}", "unknown key MODEL.MASKCLIPPP.PSM.NUM_HEAD; did you mean"),
        (
            "INPUT: {DATASET_MAPPER_NAME: mask_former_semantics}",
            "is no dataset mapper; did you mean mask_former",
        ),
        (
            "DATASETS: {TRAIN: [toy_sem_seg_trian]}",
            "no dataset is called 'toy_sem_seg_trian'; did you mean toy_",
        ),
        ("DATASETS: {TEST: []}", "DATASETS.TEST is empty"),
        ("SOLVER: {LR_SCHEDULER_NAME: WarmupCosinLR}", "LR_SCHEDULER_NAME 'WarmupCosinLR' is not known; did you mean"),
        ("SOLVER: {OPTIMIZER: SGDD}", "SOLVER.OPTIMIZER 'SGDD' is not supported"),
    ],
)
def test_each_wrong_name_in_one_line(text, problem, root_dir, tmp_path):
    assert problem in only_problem(toy_with(root_dir, tmp_path, f"{text}\n"))


def test_a_dataset_without_evaluator(root_dir, tmp_path, monkeypatch):
    text = "DATASETS: {TEST: [toy_sem_seg_val]}\n"
    monkeypatch.setattr(configs, "evaluator_types", lambda: ("coco",))
    assert "dataset 'toy_sem_seg_val' (type 'sem_seg') has no evaluator" in only_problem(
        toy_with(root_dir, tmp_path, text)
    )
    text += "MODEL: {MASKCLIPPP: {TEST: {MASK_ACC: True}}}\n"
    [report] = check_configs([toy_with(root_dir, tmp_path, text)])
    assert not report.problems


def test_all_wrong_names_are_told_together(root_dir, tmp_path):
    text = "MODEL: {MASKCLIPPP: {PSM: {NAME: A}, CRITERION: {NAME: B}}}\nDATASETS: {TRAIN: [C]}\n"
    [report] = check_configs([toy_with(root_dir, tmp_path, text)])
    assert len(report.problems) == 3


def test_values_that_differ_from_the_published_ones(root_dir, tmp_path):
    published = tmp_path / "published.json"
    path = root_dir / TOY
    published.write_text(json.dumps({"common": {"SOLVER.BASE_LR": "2e-4", "SOLVER.NEW": 1}, "configs": {TOY: {}}}))
    [report] = check_configs([path], published)
    assert report.compared and len(report.problems) == configs.SHOWN + 1
    assert "is 'MaskCLIPpp', published 'GeneralizedRCNN'" in str(report) and "more differences" in str(report)
    wrong = configs.compare_values(load_config("", ["SOLVER.BASE_LR", "1"]), {"SOLVER.BASE_LR": "2e-4", "X": 1})
    assert wrong == ["SOLVER.BASE_LR is 1.0, published 0.0002", "the published key X is unknown"]


def test_folders_at_any_depth_and_their_bases(root_dir, tmp_path):
    deep = tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    (tmp_path / "part.yaml").write_text("SEED: 3\n")
    (deep / "leaf.yaml").write_text(f"_BASE_: [{root_dir / TOY}, ../../part.yaml]\n")
    (deep / "notes.txt").write_text("not a config")
    assert [str(report) for report in check_configs([tmp_path])] == [
        f"{deep / 'leaf.yaml'} OK",
        f"{tmp_path / 'part.yaml'} OK (a base of other configs: keys and types checked)",
    ]
    (tmp_path / "part.yaml").write_text("SEED: many\n")
    assert all("SEED must be int" in str(report) for report in check_configs([tmp_path]))


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"common": [], "configs": {"a": {}}}'])
def test_a_wrong_list_of_published_values(content, root_dir, tmp_path):
    published = tmp_path / "published.json"
    published.write_text(content)
    with pytest.raises(UserError, match=r"published\.json: not a list of published values"):
        check_configs([root_dir / TOY], published)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        check_configs([root_dir / TOY], tmp_path / "other.json")


def test_paths_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        check_configs([tmp_path / "x.yaml"])
    with pytest.raises(UserError, match="no configs .* in this folder"):
        check_configs([tmp_path])


def test_the_command_prints_a_summary_and_fails(root_dir, tmp_path, monkeypatch, capsys):
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["check_configs.py", *map(str, arguments)])
        monkeypatch.setattr("logging.disable", lambda level: None)
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(root_dir / "tools" / "check_configs.py"), run_name="__main__")
        return caught.value.code

    assert run(root_dir / TOY) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 OK, 0 FAIL"
    assert run(root_dir / TOY, toy_with(root_dir, tmp_path, "SEEDS: 1\n")) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 OK, 1 FAIL"
    assert run(tmp_path / "x.yaml") == f"error: {tmp_path / 'x.yaml'}: no such file"
