"""The table of keys against what reads them: the package's own code and detectron2's functions that get the config."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.config import get_cfg
from detectron2.modeling.backbone import build, fpn, resnet
from detectron2.modeling.test_time_augmentation import DatasetMapperTTA
from detectron2.solver.build import build_lr_scheduler

from maskclippp.config import TABLE, default_config, load_config
from maskclippp.config.load import coerce, get_value, list_keys
from maskclippp.utils.errors import UserError
from tests.common import run_door

PACKAGE = Path(__file__).resolve().parents[2] / "maskclippp"
ROOTS = {"cfg", "node", "whole"}
# What detectron2 reads of the config that this project hands to it.
DETECTRON2_READERS = (
    build.build_backbone,
    resnet.build_resnet_backbone,
    fpn.build_resnet_fpn_backbone,
    build_lr_scheduler,
    DatasetMapperTTA.from_config,
)


def chain(node: ast.AST, aliases: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """Names behind the config that an expression reads: cfg.MODEL.DEVICE -> ("MODEL", "DEVICE")."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    if node.id == "self" and names[:1] == ["cfg"]:
        return tuple(names[1:])
    if node.id in aliases:
        return (*aliases[node.id], *names)
    return tuple(names) if node.id in ROOTS else None


def bindings(statement: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    for target in statement.targets:
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            yield from zip(target.elts, statement.value.elts, strict=True)
        else:
            yield target, statement.value


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def reads(function: ast.FunctionDef) -> set[str]:
    """Keys, or nodes, that one function names; "*" precedes the end of a name that is put together."""
    aliases: dict[str, tuple[str, ...]] = {}
    for statement in ast.walk(function):
        for target, value in bindings(statement) if isinstance(statement, ast.Assign) else ():
            found = chain(value, aliases)
            if isinstance(target, ast.Name) and found is not None:
                aliases[target.id] = found
    names = set()
    for node in ast.walk(function):
        found = chain(node, aliases) if isinstance(node, ast.Attribute) else None
        if found and all(re.fullmatch(r"[A-Z][A-Z0-9_]*|rc_weights|cdt_params|relu", name) for name in found):
            names.add(".".join(found))
        if isinstance(node, ast.Subscript) and chain(node.value, aliases) is not None:
            names |= composed(node.slice)
    return names


def composed(index: ast.expr) -> set[str]:
    last = index.values[-1] if isinstance(index, ast.JoinedStr) else None
    return {f"*{last.value}"} if isinstance(last, ast.Constant) else set()


def rows(name: str) -> list[str]:
    """Keys that a read may mean: by the full name, else by its end, for functions that get a node."""
    if name.startswith("*"):
        return [key for key in TABLE if key.endswith(name[1:])]
    return [name] if name in TABLE else [key for key in TABLE if key.endswith(f".{name}")]


def is_node(name: str) -> bool:
    return any(f".{name}." in f".{key}" for key in TABLE)


@pytest.fixture(scope="module")
def own_reads() -> dict[str, set[str]]:
    """name -> files that read it."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] != "config":
            for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
                for name in reads(function):
                    found.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    return found


def test_every_key_has_a_row_with_a_meaning():
    assert set(list_keys(default_config())) == set(TABLE)
    for name, key in TABLE.items():
        assert key.name == name and key.meaning and "\n" not in key.meaning


def test_rows_have_detectron2_s_defaults():
    theirs = get_cfg()
    for name in list_keys(theirs):
        assert TABLE[name].default == get_value(theirs, name), name


def test_defaults_are_copies():
    default_config().MODEL.PIXEL_MEAN.append(1)
    assert len(default_config().MODEL.PIXEL_MEAN) == 3


def test_what_the_package_reads_has_the_status_read(own_reads):
    wrong = {
        name: files
        for name, files in own_reads.items()
        if not is_node(name) and not any(TABLE[row].status != "ignored" for row in rows(name))
    }
    assert not wrong
    assert len(own_reads) > 150


def test_what_has_the_status_read_is_read(own_reads):
    for function in DETECTRON2_READERS:
        for tree in functions(ast.parse(textwrap.dedent(inspect.getsource(function)))):
            own_reads |= {name: {"detectron2"} for name in reads(tree)}
    reached = {row for name in own_reads for row in rows(name)}
    assert [name for name, key in TABLE.items() if key.status == "read" and name not in reached] == []


def test_the_reader_of_reads():
    source = """
    def f(cfg, node):
        a, b = cfg.MODEL.SWIN, cfg.TEST
        c = b.AUG
        return a.APE, c.FLIP, node.NAME, cfg.MODEL.DEVICE.startswith("x"), node[f"{p}IMAGE_SIZE"], other.SEED
    """
    found = reads(functions(ast.parse(textwrap.dedent(source)))[0])
    assert found == {"MODEL.SWIN", "TEST", "TEST.AUG", "MODEL.SWIN.APE", "TEST.AUG.FLIP", "NAME", "MODEL.DEVICE",
                     "MODEL", "*IMAGE_SIZE"}  # fmt: skip


def complaint(key: str, value: object) -> str:
    with pytest.raises(UserError) as caught:
        load_config("", [key, value])
    message = str(caught.value)
    assert message.startswith(f"command line: {key} ") and "\n" not in message
    return message


NO_EFFECT = "would have no effect: nothing reads this key"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.MASK_FORMER.ENC_LAYERS", "3", f"ENC_LAYERS 3 {NO_EFFECT}; leave it out, or at 0"),
        ("MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE", "res4", "at 'res5' or 'multi_scale_pixel_decoder' as in"),
        ("MODEL.FC_CLIP.EMBED_DIM", "767", NO_EFFECT),
        ("MODEL.FC_CLIP.GEOMETRIC_ENSEMBLE_ALPHA", "0.5", "at 0.4 or -1.0 as in published files"),
        ("MODEL.FC_CLIP.CLIP_MODEL_NAME", "ViT-B-16", NO_EFFECT),
        ("MODEL.rc_weights", "0.2", NO_EFFECT),
        ("MODEL.cdt_params", "[512, 8]", NO_EFFECT),
        ("MODEL.relu", "gelu", NO_EFFECT),
        ("MODEL.SEM_SEG_HEAD.NAME", "PixelHead", NO_EFFECT),
        ("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", "8", NO_EFFECT),
        ("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "2", "2.0 would have no effect"),
        ("MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS", "8", NO_EFFECT),
        ("MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS", "4", NO_EFFECT),
        ("MODEL.RESNETS.STEM_TYPE", "v1c", NO_EFFECT),
        ("MODEL.RESNETS.RES5_MULTI_GRID", "[1, 2, 2]", NO_EFFECT),
        ("MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON_VALID_MASK", "0.5", NO_EFFECT),
        ("MODEL.MASKCLIPPP.TEXT_ENCODER.SKIP_LN_FINAL", "True", NO_EFFECT),
        ("MODEL.MASKCLIPPP.VISUAL_ENCODER.MASK_SCALE", "2", NO_EFFECT),
        ("MODEL.MASKCLIPPP.VISUAL_ENCODER_F.MASK_BIAS", "0.1", NO_EFFECT),
        ("MODEL.MASK_ON", "True", NO_EFFECT),
        ("MODEL.RPN.NMS_THRESH", "0.5", NO_EFFECT),
        ("MODEL.ROI_HEADS.NUM_CLASSES", "20", NO_EFFECT),
        ("DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler", NO_EFFECT),
        ("DATALOADER.REPEAT_THRESHOLD", "0.001", NO_EFFECT),
        ("SOLVER.REFERENCE_WORLD_SIZE", "8", NO_EFFECT),
        ("SOLVER.BIAS_LR_FACTOR", "2.0", NO_EFFECT),
        ("INPUT.MASK_FORMAT", "bitmask", NO_EFFECT),
        ("TEST.PRECISE_BN.ENABLED", "True", NO_EFFECT),
        ("VIS_PERIOD", "10", NO_EFFECT),
        ("RUN_DEMO", "True", NO_EFFECT),
        ("VERSION", "1", "VERSION 1 is not supported; only 2 is"),
        ("MODEL.MASK_FORMER.PRE_NORM", "True", "PRE_NORM True is not supported; only False is"),
        ("MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "StandardTransformerDecoder", "is not supported; only 'Multi"),
        ("MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME", "TransformerEncoderPixelDecoder", "is not supported; only"),
        ("SOLVER.ACCUMULATION_STEPS", "0", "must be at least 1"),
    ],
)
def test_values_without_effect_are_refused(key, value, message):
    assert message in complaint(key, value)


def test_every_key_that_nothing_reads_refuses_another_value():
    others = {bool: lambda v: not v, int: lambda v: v + 7, float: lambda v: v + 0.017, str: lambda v: f"{v}x"}
    tried = 0
    for name, key in TABLE.items():
        if key.status != "read" and type(key.default) in others:
            value = others[type(key.default)](key.default)
            if value not in key.published:
                assert "would have no effect" in complaint(name, value) or key.status == "fixed"
                tried += 1
            for value in (key.default, *key.published):
                load_config("", [name, value])
    assert tried > 80


def test_the_published_values_of_all_methods_are_accepted(shared_dir):
    """Also of methods that come later, as far as their keys are known."""
    spec, known = shared_dir / "spec", 0
    later = json.loads((spec / "published_configs_maft_masqclip.json").read_text())
    groups = [json.loads((spec / "published_configs.json").read_text()), later["MAFT"], later["MasQCLIP"]]
    for group in groups:
        for values in (group["common"], *group["configs"].values()):
            for key, value in values.items():
                if key in TABLE:
                    TABLE[key].check(coerce(key, value, default=TABLE[key].default))
                    known += 1
    assert known > 1000


def test_the_table_is_printed(root_dir, capsys, monkeypatch):
    assert run_door(monkeypatch, root_dir / "tools/list_keys.py") == 0
    text = capsys.readouterr().out
    assert text.count("\n| `") == len(TABLE) and text.count("\n## ") == len({n.rpartition(".")[0] for n in TABLE})
    assert run_door(monkeypatch, root_dir / "tools/list_keys.py", "solver.*_multiplier") == 0
    text = capsys.readouterr().out
    assert (
        text.startswith("3 keys: 3 read, 0 ignored, 0 fixed.") and "`SOLVER.BACKBONE_MULTIPLIER` | `0.1` | at" in text
    )
    assert run_door(monkeypatch, root_dir / "tools/list_keys.py", "nothing") != 0


def test_who_reads_the_node_of_a_method(own_reads):
    """Evaluation and engine get what they must know from TaskInference; weights are named where they are warned of."""
    files = {file for name, places in own_reads.items() if name.startswith("MODEL.MASKCLIPPP") for file in places}
    others = {file for file in files if not file.startswith("mask_generators/")} - {"detectron2"}
    assert others == {"inference/tasks.py", "methods/maskclippp.py", "engine/untrained.py"}
