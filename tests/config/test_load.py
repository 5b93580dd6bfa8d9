"""Config files: inheritance, closed keys, types, safe YAML, published values; every message names file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from maskclippp.config import default_config, load_config
from maskclippp.config.load import inheritance
from maskclippp.utils import paths
from maskclippp.utils.errors import UserError

TOY = "configs/toy/maskclippp_toy_clip-vit.yaml"

# Seven lists of nine aliases each stand for 9**7 values.
ALIAS_BOMB = "a: &a [1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.fixture
def write(tmp_path):
    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return _write


def message(path, overrides=()) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_base_is_relative_to_the_file_and_overrides_win(write):
    write("base.yaml", 'SOLVER:\n  MAX_ITER: 7\n  BASE_LR: 2e-4\nDATASETS:\n  TEST: ("a", "b")\n')
    path = write("sub/leaf.yaml", "_BASE_: ../base.yaml\nSOLVER:\n  MAX_ITER: 8\n")
    cfg = load_config(path, ["SOLVER.STEPS", "(3, 4)", "DATASETS.TRAIN", "one"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (8, 2e-4)
    assert (cfg.DATASETS.TEST, cfg.DATASETS.TRAIN, cfg.SOLVER.STEPS) == (("a", "b"), ("one",), (3, 4))


def test_null_threshold_and_number_conversions(write):
    path = write(
        "a.yaml",
        "MODEL:\n  WEIGHTS: '12'\n  MASKCLIPPP:\n    VISUAL_ENCODER: {DOWN_MASK_THRESH: null, MASK_LOGIT_SCALE: -5}\n"
        "    VISUAL_ENCODER_F:\n      DOWN_MASK_THRESH: None\nINPUT:\n  CROP: {SIZE: [448, 448]}\n",
    )
    cfg = load_config(path)
    assert cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER.DOWN_MASK_THRESH is None
    assert cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER_F.DOWN_MASK_THRESH is None
    assert type(cfg.MODEL.MASKCLIPPP.VISUAL_ENCODER.MASK_LOGIT_SCALE) is float
    assert cfg.INPUT.CROP.SIZE == [448, 448] and type(cfg.INPUT.CROP.SIZE[0]) is int
    assert load_config("", ["MODEL.WEIGHTS", '""']).MODEL.WEIGHTS == ""
    assert load_config("", ["WANDB.NAME", "12a"]).WANDB.NAME == "12a"


def test_text_that_looks_like_a_number_stays_text():
    assert load_config("", ["MODEL.WEIGHTS", "123"]).MODEL.WEIGHTS == "123"


def test_all_complaints_of_a_file_in_one_message(write):
    path = write(
        "a.yaml",
        "SOLVER:\n  MAX_ITERS: 7\n  MAX_ITER: many\n  AMP: 3\nMODEL:\n  MASKCLIPPP:\n    PSM:\n      NAMES: x\n"
        "SEED: null\nINPUT:\n  MIN_SIZE_TRAIN: 640\n  FORMAT: RGB\nVERSION: 1\nMODEL.X: 1\n",
    )
    text = message(path)
    assert text.splitlines()[0] == f"{path}: 8 problems"
    assert f"{path}:2: unknown key SOLVER.MAX_ITERS; did you mean SOLVER.MAX_ITER" in text
    assert f"{path}:3: SOLVER.MAX_ITER must be int (default 40000), got str 'many'" in text
    assert f"{path}:4: SOLVER.AMP is a section of keys, got int 3" in text
    assert "unknown key MODEL.MASKCLIPPP.PSM.NAMES; did you mean MODEL.MASKCLIPPP.PSM.NAME" in text
    assert f"{path}:9: SEED must be int (default -1), got NoneType None" in text
    assert f"{path}:11: INPUT.MIN_SIZE_TRAIN must be a list (default (800,)), got int 640" in text
    assert "VERSION 1 is not supported" in text
    assert "unknown key MODEL.X" in text


def test_a_single_complaint_is_one_line(write):
    path = write("a.yaml", "INPUT:\n  MIN_SIZE_TRAIN: [1, a]\n")
    assert message(path) == f"{path}:2: INPUT.MIN_SIZE_TRAIN[1] must be a number (default (800,)), got str 'a'"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["SEED"], "overrides must be KEY VALUE pairs, 'SEED' has no value"),
        (["SEEDS", "3"], "command line: unknown key SEEDS; did you mean SEED"),
        (["SEED", "3.5"], "SEED must be int (default -1), got float 3.5"),
        (["MODEL.MASK_ON", "yes"], "MODEL.MASK_ON must be bool"),
        (["MODEL", "yes"], "MODEL is a section of keys"),
        (["MODEL.WEIGHTS.X", "yes"], "unknown key MODEL.WEIGHTS.X"),
    ],
)
def test_overrides_are_checked(overrides, expected):
    assert expected in message("", overrides)


def test_missing_files_name_similar_ones(write):
    write("configs/maskclippp_toy.yaml", "SEED: 1\n")
    leaf = write("configs/leaf.yaml", "_BASE_: maskclippp_toi.yaml\n")
    assert f"{leaf}:1: there is no config file" in message(leaf)
    assert "did you mean" in message(leaf) and "maskclippp_toy.yaml" in message(leaf)
    assert "no config file" in message(leaf.parent.parent / "confs" / "maskclippp_toy.yml")


def test_the_project_s_configs_are_found_by_name_from_any_folder(write, root_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inheritance(TOY)[-1] == root_dir / TOY
    assert load_config(f"./{TOY}") == load_config(root_dir / TOY)
    leaf = write("sub/leaf.yaml", f"_BASE_: {TOY}\nSEED: 5\n")
    assert load_config(leaf).MODEL.META_ARCHITECTURE == "MaskCLIPpp" and inheritance(leaf)[-2] == root_dir / TOY
    own = write(f"sub/{TOY}", "SEED: 6\n")
    assert inheritance(leaf) == [own, leaf]  # what lies beside the file comes first
    own = write(TOY, "SEED: 7\n")
    assert inheritance(TOY) == [own] and load_config(TOY).SEED == 7


def test_a_wheel_holds_its_configs_in_the_package(write, tmp_path, monkeypatch):
    """Beside an installed package there may be a folder of that name which is somebody else's."""
    installed = write("site/maskclippp/configs/toy/x.yaml", "_BASE_: ../Base.yaml\nSEED: 3\n")
    write("site/maskclippp/configs/Base.yaml", "SOLVER: {MAX_ITER: 9}\n")
    write("site/configs/toy/y.yaml", "SEED: 4\n")
    monkeypatch.setattr(paths, "PACKAGE", tmp_path / "site" / "maskclippp")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert inheritance("configs/toy/x.yaml")[-1] == installed
    assert load_config("configs/toy/x.yaml").SOLVER.MAX_ITER == 9
    assert message("configs/toy/y.yaml").startswith("command line: there is no config file configs/toy/y.yaml")


def test_a_wrong_name_is_met_with_the_project_s_similar_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"; did you mean {TOY}" in message("configs/toy/maskclippp_toy_clip-vti.yaml")
    assert f"; did you mean {TOY}" in message("configs/maskclippp_toy_clip-vit.yaml")


def test_circular_base(write):
    path = write("a.yaml", "_BASE_: b.yaml\n")
    write("b.yaml", "_BASE_: a.yaml\n")
    assert "_BASE_ leads back" in message(path)


def test_eval_tag_is_list_arithmetic_only(write, tmp_path):
    path = write(
        "a.yaml",
        'INPUT:\n  MIN_SIZE_TRAIN: !!python/object/apply:eval ["[int(x * 0.1 * 640) for x in range(5, 21)]"]\n',
    )
    assert load_config(path).INPUT.MIN_SIZE_TRAIN == tuple(int(x * 0.1 * 640) for x in range(5, 21))
    victim = tmp_path / "ran"
    path = write("b.yaml", f"SEED: !!python/object/apply:eval [\"open('{victim}', 'w')\"]\n")
    assert message(path).startswith(f"{path}:1: the eval tag is for list arithmetic only")
    assert not victim.exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {victim}']",
        "!!python/object/new:os.system ['touch {victim}']",
        "!!python/name:os.system",
        "!!python/tuple [1, 2]",
        "!custom 3",
        "[1, !!python/object/apply:os.system ['touch {victim}']]",
        "!!python/dict {{}}",
    ],
)
def test_other_tags_are_refused(write, tmp_path, value):
    victim = tmp_path / "ran"
    path = write("a.yaml", "WANDB:\n  ENABLED: False\n  NAME: " + value.format(victim=victim) + "\n")
    text = message(path)
    assert text.startswith(f"{path}:3: the YAML tag '!") and "refused" in text and "\n" not in text
    assert not victim.exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SEED: [1\n", "not valid YAML"),
        ("- 1\n", "must be 'KEY: value' lines"),
        ("SEED: {A: *missing}\n", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("DATASETS: {TRAIN: [{A: 1}]}\n", "a section inside a list"),
        ("? [1, 2]\n: 3\n", "a key must be a plain name"),
        (ALIAS_BOMB, "aliases"),
        ("A: &a [*a]\n", "aliases"),
        ("SEED: 2020-99-99\n", "not a valid"),
        ("A: " + "[" * 2000, "not valid YAML"),
    ],
)
def test_broken_files(write, text, expected):
    assert expected in message(write("a.yaml", text))


def test_empty_file_is_the_defaults(write):
    assert load_config(write("a.yaml", "# nothing\n")) == default_config()


def test_a_dumped_config_loads_again(write):
    cfg = load_config("", ["DATASETS.TEST", "('a',)", "INPUT.MIN_SIZE_TRAIN", "(1, 2)"])
    assert load_config(write("a.yaml", cfg.dump())) == cfg


def test_published_configs_load(write, shared_dir):
    published = json.loads((shared_dir / "spec" / "published_configs.json").read_text())
    assert len(published["configs"]) == 26
    for index, values in enumerate(published["configs"].values()):
        tree: dict = {}
        for key, value in {**published["common"], **values}.items():
            node = tree
            *parents, leaf = key.split(".")
            for name in parents:
                node = node.setdefault(name, {})
            node[leaf] = value
        cfg = load_config(write(f"{index}.yaml", yaml.safe_dump(tree)))
        assert cfg.SOLVER.BASE_LR in (1e-4, 2e-4) and cfg.SOLVER.BASE_LR_END == 1e-5
        assert cfg.INPUT.CROP.SIZE in ([0.9, 0.9], [448, 448], [1024, 1024])


def test_every_config_of_the_project_loads(root_dir):
    files = sorted((root_dir / "configs").rglob("*.yaml"))
    assert files
    for file in files:
        load_config(file)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("SEED: 0x" + "f" * 5000 + "\n", "is not a valid int"),
        ("SEED: " + "9" * 5000 + "\n", "is not a valid int"),
        ("SEED: !!int ''\n", "is not a valid int"),
        ("SEED: !!float ''\n", "is not a valid float"),
        ("SEED: !!bool maybe\n", "is not a valid bool"),
        ("SEED: !!timestamp x\n", "is not a valid timestamp"),
        ("SEED: " + "[" * 5000 + "\n", "nested too deeply"),
        ("- " * 3000 + "\n", "nested too deeply"),
        ("SEED: '" + "0x" + "f" * 5000 + "'\n", "SEED has a number of more than 64 bits"),
        ("WANDB:\n  PROJECT: x\n  NAME: {}\n", "WANDB.NAME must be a text, a number or a list"),
        ("S\x1bEED: 1\n", "not valid YAML"),
        ('"K\\n\\e[31m": 1\n', "unknown key K; \\x1b[31m"),
        ("K" * 100_000 + ": 1\n", "not valid YAML"),
    ],
)
def test_values_that_python_does_not_bear(write, text, part):
    found = message(write("a.yaml", text))
    assert part in found and "a.yaml" in found and "\n" not in found and len(found) <= 1000


@pytest.mark.parametrize(
    "value", ["{[]: 1}", "(" * 9000, "-" * 9000 + "1", "0x" + "f" * 5000, "9" * 5000, "[" * 200_000]
)
def test_overrides_that_python_does_not_bear(value):
    found = message("", ["SEED", value])
    assert found.startswith("command line: SEED") and "\n" not in found and len(found) <= 1000


@pytest.mark.parametrize(
    "name", ["n" * 300 + ".yaml", "d/" * 3000 + "a.yaml", "a\0.yaml", "/dev/zero", "~nobody/a.yaml"]
)
def test_names_that_lead_to_no_config(write, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "there is no config file" in message(name)
    if "\0" not in name:
        assert "there is no config file" in message(write("a.yaml", f"_BASE_: {name}\n"))
