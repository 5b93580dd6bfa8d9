"""The shell functions of eval_all.sh and eval_mask_acc.sh: which command line each of them runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from maskclippp.data.datasets import DATASETS
from maskclippp.evaluation import benchmarks

SEMANTIC = ["MODEL.MASK_FORMER.TEST.PANOPTIC_ON", "False", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False"]
CLIP = ["MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM", "MODEL.MASKCLIPPP.USE_LOGIT_SCALE", "True"]
MESS = (
    "dark_zurich foodseg mhp kvasir pst900 corrosion zerowaste cub200 bdd100k atlantis dram isaid chase_db1 suim "
    "paxray isprs cryonuseg deepcrack floodnet cwfid worldfloods uavid"
).split()


def mask_accuracy(generator: str) -> list[str]:
    return [
        *("MODEL.MASKCLIPPP.TEST.ENSEMBLE_ON", "False", "MODEL.MASKCLIPPP.TEST.MASK_ACC", "True"),
        *("MODEL.MASKCLIPPP.SEGMENTOR.NAME", generator, "MODEL.MASKCLIPPP.VISUAL_ENCODER_F.NAME", "DummyVisualEncoder"),
        *("MODEL.MASKCLIPPP.TEXT_ENCODER_F.NAME", "none"),
    ]


def test_set(name: str) -> list[str]:
    return ["DATASETS.TEST", f'("{name}",)']


test_set.__test__ = False


@pytest.fixture
def call(root_dir, tmp_path):
    """Run a line of bash in another folder after sourcing a script; return status and the command lines recorded."""
    fake, record = tmp_path / "fake python", tmp_path / "record"
    fake.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"print(json.dumps(sys.argv[1:]), file=open({str(record)!r}, 'a'))\n"
        "sys.exit(os.environ.get('FAIL_ON', 'nothing of this name') in ' '.join(sys.argv))\n"
    )
    fake.chmod(0o755)

    def _call(script: str, line: str, **environment: str):
        command = f"source '{root_dir}/{script}'; {line}"
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHON": str(fake), **environment},
            capture_output=True,
            text=True,
        )
        lines = [json.loads(text) for text in record.read_text().splitlines()] if record.exists() else []
        return done, lines

    return _call


def command_line(root_dir, tag: str, overrides: list[str], weights: str = "w.pth") -> list[str]:
    return [
        *(f"{root_dir}/train_maskclippp.py", "--config-file", "c.yaml", "--num-gpus", "0", "--tag", tag),
        *("--eval-only", "--dist-url", "auto", "MODEL.WEIGHTS", weights),
        *overrides,
    ]


@pytest.mark.parametrize(
    ("function", "suffix", "overrides"),
    [
        ("eval_default", "", []),
        ("eval_without_psm", "_without-psm", CLIP),
        ("eval_ade150", "_ade150", test_set("openvocab_ade20k_panoptic_val")),
        ("eval_ade847", "_ade847", test_set("openvocab_ade20k_full_sem_seg_val") + SEMANTIC),
        ("eval_pc20", "_pc20", SEMANTIC + test_set("openvocab_pascal20_sem_seg_val")),
        ("eval_ctx59", "_ctx59", test_set("openvocab_pascal_ctx59_sem_seg_val") + SEMANTIC),
        ("eval_ctx459", "_ctx459", test_set("openvocab_pascal_ctx459_sem_seg_val") + SEMANTIC),
        (
            "eval_coco133",
            "_coco133",
            test_set("openvocab_coco_2017_val_panoptic_with_sem_seg")
            + ["INPUT.MIN_SIZE_TEST", "1024", "INPUT.MAX_SIZE_TEST", "2560"],
        ),
        ("eval_cocostuff", "_cocostuff", test_set("openvocab_coco_2017_val_stuff_sem_seg") + SEMANTIC),
    ],
)
def test_eval_all_functions(call, root_dir, function, suffix, overrides):
    """User options come last and keep their blanks."""
    done, lines = call("eval_all.sh", f"{function} c.yaml w.pth 0 tag WANDB.NAME 'two words'")
    assert done.returncode == 0
    assert lines == [command_line(root_dir, f"tag{suffix}", [*overrides, "WANDB.NAME", "two words"])]


def test_eval_all_runs_five_sets_and_the_first_may_fail(call):
    done, lines = call("eval_all.sh", "eval_all c.yaml w.pth 0 t")
    assert done.returncode == 0
    assert [line[6] for line in lines] == ["t_ade150", "t_ade847", "t_ctx459", "t_ctx59", "t_pc20"]
    done, lines = call("eval_all.sh", "eval_all c.yaml w.pth 0 t", FAIL_ON="t_ade150")
    assert done.returncode == 1 and len(lines[5:]) == 5
    done, lines = call("eval_all.sh", "eval_all c.yaml w.pth 0 t", FAIL_ON="t_ctx459")
    assert done.returncode == 1 and len(lines[10:]) == 3


@pytest.mark.parametrize(
    ("function", "generator", "suffix", "name"),
    [
        ("eval_mask_acc", "GTSegmentor", "", None),
        ("eval_pan_mask_acc", "PanGTSegmentor", "", None),
        ("eval_mask_acc_ade150", "GTSegmentor", "_ade150", None),
        ("eval_mask_acc_stuff", "GTSegmentor", "_stuff", "openvocab_coco_2017_val_stuff_sem_seg"),
        ("eval_pan_mask_acc_coco", "PanGTSegmentor", "_coco", "openvocab_coco_2017_val_panoptic_with_sem_seg"),
        ("eval_mask_acc_ade847", "GTSegmentor", "_ade847", "openvocab_ade20k_full_sem_seg_val"),
        ("eval_mask_acc_ctx459", "GTSegmentor", "_ctx459", "openvocab_pascal_ctx459_sem_seg_val"),
        ("eval_mask_acc_ctx59", "GTSegmentor", "_ctx59", "openvocab_pascal_ctx59_sem_seg_val"),
        ("eval_mask_acc_pc20", "GTSegmentor", "_pc20", "openvocab_pascal20_sem_seg_val"),
        ("eval_mask_acc_city", "GTSegmentor", "_city", "openvocab_cityscapes_fine_panoptic_val"),
        ("eval_mask_acc_paxray", "GTSegmentor", "_paxray", "paxray_sem_seg_test_lungs"),
    ],
)
def test_mask_accuracy_functions(call, root_dir, function, generator, suffix, name):
    """The test set comes after the user's options."""
    done, lines = call("eval_mask_acc.sh", f"{function} c.yaml w.pth 0 tag 1 SEED 3; {function} c.yaml '' 0 tag 0")
    assert done.returncode == 0
    last = test_set(name) if name else []
    assert lines == [
        command_line(root_dir, f"tag{suffix}", [*mask_accuracy(generator), "SEED", "3", *last]),
        command_line(root_dir, f"tag{suffix}", [*mask_accuracy(generator), *CLIP, *last], weights=""),
    ]


def test_mess_functions_use_the_registered_names(call, shared_dir):
    text = (shared_dir / "spec" / "datasets.md").read_text()
    table = text[text.index("## 3. MESS") : text.index("## 4.")]
    published = {row.split("|")[6].split()[0] for row in table.splitlines() if re.search(r"_sem_seg_(test|val)", row)}
    _, lines = call("eval_mask_acc.sh", "; ".join(f"eval_mask_acc_{name} c.yaml w.pth 0 t 1" for name in MESS))
    assert {line[-1] for line in lines} == {f'("{name}",)' for name in published} and len(lines) == 22
    assert [line[6] for line in lines] == [f"t_{name}" for name in MESS]


def test_functions_evaluate_the_sets_of_the_tables(call):
    """eval_mask_acc_ade150 keeps the set of the config."""
    segmentation = [(f"eval_{each.suffix}", each.dataset, "eval_all.sh", "") for each in benchmarks.SEGMENTATION]
    sets = [each for each in benchmarks.MASK_ACCURACY + benchmarks.MESS if each.suffix != "ade150"]
    accuracy = [(f"eval_mask_acc_{each.suffix}", each.dataset, "eval_mask_acc.sh", "1") for each in sets]
    for table in (segmentation, accuracy):
        line = "; ".join(f"{function} c.yaml w.pth 0 t {psm}" for function, _, _, psm in table)
        _, lines = call(table[0][2], line)
        tested = [line[line.index("DATASETS.TEST") + 1] for line in lines[-len(table) :]]
        assert tested == [f'("{dataset}",)' for _, dataset, _, _ in table]


def test_base_stops_at_the_first_failure(call):
    done, lines = call("eval_mask_acc.sh", "eval_mask_acc_base c.yaml w.pth 0 t 1", FAIL_ON="t_ctx59")
    assert done.returncode == 1
    assert [line[6] for line in lines] == ["t_ade150", "t_ade847", "t_ctx459", "t_ctx59"]


def test_the_number_of_functions(root_dir):
    """The published ones, and one of ours in each file."""
    for script, count in (("eval_all.sh", 10 + 1), ("eval_mask_acc.sh", 33 + 1)):
        names = re.findall(r"^(eval_\w+)\(\)", (root_dir / script).read_text(), re.MULTILINE)
        assert len(set(names)) == len(names) == count


def test_every_set_of_the_table_has_its_functions(root_dir):
    """And no function is of another set; the names of datasets stand in the table alone."""
    lines = (root_dir / "maskclippp/evaluation/benchmarks.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line.startswith("set\t")]
    starts = ("eval_", "eval_mask_acc_", "eval_pan_mask_acc_")
    wanted = {f"{start}{row[1]}" for row in rows for start, cell in zip(starts, row[4:], strict=True) if cell != "-"}
    scripts = [(root_dir / script).read_text() for script in ("eval_all.sh", "eval_mask_acc.sh")]
    found = {name for text in scripts for name in re.findall(r"^(eval_\w+)\(\)", text, re.MULTILINE)}
    others = "default without_psm all everything mask_acc pan_mask_acc mask_acc_base mask_acc_mess".split()
    assert found - wanted == {f"eval_{name}" for name in others} and wanted <= found
    assert not [row[3] for row in rows if row[3] in "".join(scripts)]
    assert {row[3] for row in rows} <= set(DATASETS) and len({row[1] for row in rows}) == len(rows)


def test_the_settings_of_the_caller_change_nothing(call, root_dir):
    """Word splitting of one's own, and strict shells."""
    lines = "eval_ade847 c.yaml w.pth 0 t; eval_mask_acc_base c.yaml w.pth 0 t 1; eval_mask_acc c.yaml w.pth 0 t 1"
    plain = call("eval_all.sh", f"source '{root_dir}/eval_mask_acc.sh'; {lines}")[1]
    changed = call("eval_all.sh", f"source '{root_dir}/eval_mask_acc.sh'; set -u; IFS=,; {lines}")[1][len(plain) :]
    assert len(plain) == 7 and changed == plain


def test_usage(call):
    done, lines = call("eval_all.sh", "eval_ade150 c.yaml")
    assert (done.returncode, lines) == (2, []) and "usage: eval_ade150 CONFIG CKPT NGPU TAG" in done.stderr
    done, lines = call("eval_mask_acc.sh", "eval_mask_acc_city c.yaml w.pth 0 t")
    assert (done.returncode, lines) == (2, [])
    assert "usage: eval_mask_acc_city CONFIG CKPT NGPU TAG USE_PSM" in done.stderr


FAKE_TOOL = """
import json, pathlib, sys
print(json.dumps(sys.argv[1:]), file=open(sys.argv[0] + ".record", "a"))
if "list" in sys.argv:
    print("{found}")
sys.exit("t_{failing}" in sys.argv)
"""


@pytest.mark.parametrize(
    ("script", "function", "sets", "table", "found", "extra"),
    [
        ("eval_all.sh", "eval_everything", "segmentation", "segmentation", "ade847 pc20", []),
        ("eval_mask_acc.sh", "eval_mask_acc_mess", "mess", "mask-accuracy", "mhp cwfid", ["1"]),
    ],
)
def test_everything_runs_what_is_on_disk(root_dir, tmp_path, script, function, sets, table, found, extra):
    """One failure does not stop the others; the table is told of it, and so is the caller."""
    tool = tmp_path / "python.py"
    first, second = found.split()
    tool.write_text(f"#!{sys.executable}" + FAKE_TOOL.format(found=found, failing=first))
    tool.chmod(0o755)
    arguments = ["c.yaml", "w.pth", "0", "t", *extra, "OUTPUT_DIR", "'two words'"]
    done = subprocess.run(
        ["bash", "-c", f"source '{root_dir}/{script}'; {function} {' '.join(arguments)}"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(tool)},
        capture_output=True,
        text=True,
    )
    lines = [json.loads(text) for text in Path(f"{tool}.record").read_text().splitlines()]
    summary = f"{root_dir}/tools/summarize_results.py"
    assert lines[0] == [summary, "list", sets]
    assert [line[6] for line in lines[1:3]] == [f"t_{first}", f"t_{second}"]
    last = [summary, "table", table, "c.yaml", "t", "--failed", first, "--opts", "OUTPUT_DIR", "two words"]
    assert lines[3] == last and done.returncode == 1


def test_everything_wants_its_arguments(call):
    done, lines = call("eval_all.sh", "eval_everything c.yaml w.pth 0")
    assert (done.returncode, lines) == (2, []) and "usage: eval_everything CONFIG CKPT NGPU TAG [KEY" in done.stderr
    done, lines = call("eval_mask_acc.sh", "eval_mask_acc_mess c.yaml w.pth 0 t")
    assert (done.returncode, lines) == (2, []) and "TAG USE_PSM(0|1) [KEY VALUE" in done.stderr
