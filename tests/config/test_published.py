"""Configs of the published family: files under configs/ and ones written for the published code, value by value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from maskclippp.config import load_config
from maskclippp.config.load import coerce, get_value, list_keys
from maskclippp.utils.errors import UserError

# As the published code writes its lists of shorter sides.
EVAL_TAG = "!!python/object/apply:eval"


@pytest.fixture(scope="module")
def published(shared_dir) -> dict:
    return json.loads((shared_dir / "spec" / "published_configs.json").read_text())


@pytest.fixture(scope="module")
def default():
    return load_config()


def differences(path: Path, expected: dict, default) -> list[str]:
    """Keys whose value is not the expected one; keys that are not listed must have their default."""
    cfg, wrong = load_config(path), []
    for key in list_keys(default):
        value = get_value(default, key)
        wanted = coerce(key, expected[key], default=value) if key in expected else value
        if get_value(cfg, key) != wanted:
            wrong.append(f"{path.name}: {key} is {get_value(cfg, key)!r}, expected {wanted!r}")
    return wrong


def nested(values: dict) -> dict:
    tree: dict = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = value
    return tree


def test_every_value_of_every_published_config(published, default, root_dir):
    assert len(published["configs"]) == 26
    assert set(published["common"]) <= set(list_keys(default))
    for path, values in published["configs"].items():
        assert not differences(root_dir / path, published["common"] | values, default)


def test_the_project_has_no_other_configs_of_these_sets(published, root_dir):
    folders = (root_dir / "configs" / "coco-pan", root_dir / "configs" / "coco-stuff")
    found = {str(file.relative_to(root_dir)) for folder in folders for file in folder.rglob("*.yaml")}
    assert found == set(published["configs"])


def test_files_written_for_the_published_code(published, default, tmp_path):
    """Its own inheritance, one base per file, and its eval tag for the shorter sides."""
    (tmp_path / "Base.yaml").write_text(yaml.safe_dump(nested(published["common"])))
    for path, values in published["configs"].items():
        text = yaml.safe_dump(nested({key: v for key, v in values.items() if key != "INPUT.MIN_SIZE_TRAIN"}))
        if "INPUT.MIN_SIZE_TRAIN" in values:
            size = values["INPUT.CROP.SIZE"].strip("()").split(",")[0]
            tag = f'{EVAL_TAG} ["[int(x * 0.1 * {size}) for x in range(3, 20)]"]'
            text = text.replace("INPUT:\n", f"INPUT:\n  MIN_SIZE_TRAIN: {tag}\n")
            assert EVAL_TAG in text
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        up = "/".join([".."] * (len(Path(path).parts) - 1))
        file.write_text(f"_BASE_: {up}/Base.yaml\n{text}")
        assert not differences(file, published["common"] | values, default)


def test_several_bases_apply_in_order(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "common.yaml").write_text("SOLVER: {MAX_ITER: 1, STEPS: [1], IMS_PER_BATCH: 1}\n")
    (tmp_path / "sub" / "one.yaml").write_text("_BASE_: ../common.yaml\nSOLVER: {MAX_ITER: 2, STEPS: [2]}\n")
    (tmp_path / "two.yaml").write_text("SOLVER: {MAX_ITER: 3}\n")
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text("_BASE_: [sub/one.yaml, two.yaml]\nSEED: 4\n")
    cfg = load_config(leaf)
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER, cfg.SEED) == (1, (2,), 3, 4)


@pytest.mark.parametrize("bases", ["[]", "[a.yaml, 3]", "7"])
def test_a_base_must_be_named(bases, tmp_path):
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text(f"SEED: 1\n_BASE_: {bases}\n")
    with pytest.raises(UserError, match=r"leaf\.yaml:2: _BASE_ must be a file name or a list of them"):
        load_config(leaf)
