"""Parts in files outside the package, one file each, which a command line brings in and a config chooses."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY

from maskclippp.config import default_config
from maskclippp.data.datasets import get_metadata
from maskclippp.engine.main import main
from maskclippp.engine.progress import identity
from maskclippp.evaluation import EVALUATOR_REGISTRY, EvaluatedDataset
from maskclippp.evaluation.registry import evaluators_of
from maskclippp.mask_generators import MASK_GENERATOR_REGISTRY
from maskclippp.toy.writer import make_world
from maskclippp.utils.plugins import load_plugins
from maskclippp.visual_encoders.mask_policies import MASK_POLICY_REGISTRY

POLICY = """
    from maskclippp.visual_encoders.mask_policies import MASK_POLICY_REGISTRY, MaskPolicy

    @MASK_POLICY_REGISTRY.register()
    class NonEmptyPatches(MaskPolicy):
        sees_itself = True

        def __init__(self, node, tower):
            super().__init__(first_block=node.MASK_PRIOR_BEG)

        def inside(self, values):
            return values > 0

        def bias(self, guide, blocks_left):
            return guide.inside[:, None]
"""
GENERATOR = """
    import torch

    from maskclippp.mask_generators import MASK_GENERATOR_REGISTRY, MaskGenerator
    from maskclippp.structures import MaskSet

    @MASK_GENERATOR_REGISTRY.register()
    class Halves(MaskGenerator):
        def __init__(self, cfg):
            super().__init__()

        def forward(self, inputs):
            found = []
            for record, (height, width) in zip(inputs.records, inputs.sizes):
                masks = torch.zeros(2, height, width, device=record["image"].device)
                masks[0, :, : width // 2] = masks[1, :, width // 2 :] = 1
                found.append(masks)
            return MaskSet(found)
"""
EVALUATOR = """
    from maskclippp.evaluation import StreamingEvaluator, register_evaluator

    @register_evaluator("one_class_a_half", task="semantic")
    class CountsHalves(StreamingEvaluator):
        @classmethod
        def for_dataset(cls, dataset):
            return cls(len(dataset.class_names))

        def __init__(self, num_classes):
            self.num_classes = num_classes
            self.reset()

        def reset(self):
            self.pictures = self.halves = 0

        def process(self, inputs, outputs):
            for output in outputs:
                labels = output["sem_seg_labels"]
                left, right = labels.split(labels.shape[1] // 2, dim=1)[:2]
                self.pictures += 1
                self.halves += int(left.unique().numel() == 1) + int(right.unique().numel() == 1)

        def state_dict(self):
            return {"pictures": self.pictures, "halves": self.halves}

        def add_state(self, state):
            self.pictures += state["pictures"]
            self.halves += state["halves"]

        def score(self):
            found = {"pictures": self.pictures, "halves": self.halves, "classes": self.num_classes}
            return {"halves": {name: float(value) for name, value in found.items()}}
"""
METHOD = """
    from __future__ import annotations

    from dataclasses import dataclass

    import torch
    from detectron2.modeling import META_ARCH_REGISTRY
    from torch import nn

    from maskclippp.methods import Method
    from maskclippp.methods.common import class_names, common_vocabulary
    from maskclippp.structures import DensePrediction, PreparedVocabulary, ResampledMasks

    @dataclass(frozen=True, kw_only=True)
    class Shades(PreparedVocabulary):
        levels: torch.Tensor

    @META_ARCH_REGISTRY.register()
    class ByBrightness(Method):
        checkpoint_prefixes = ("gain",)

        def __init__(self, cfg):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        @property
        def device(self):
            return self.gain.device

        def losses(self, records, targets, step):
            error = sum((self.gain * record["image"].float().mean() / 255 - 1).square() for record in records)
            return {"loss": (error / targets.divisors["pictures"]).sum()}

        def prepare(self, metadata, *, only_masks=False, spread=False):
            names = class_names(metadata)
            return Shades(**common_vocabulary(metadata, names), levels=torch.linspace(0, 1, len(names)))

        def infer(self, records, prepared, *, only_masks=False):
            shades = [self.gain * record["image"].float().mean(dim=0) / 255 for record in records]
            scores = [-(shade - prepared.levels[:, None, None]).abs() for shade in shades]
            return [DensePrediction(ResampledMasks.of(each)) for each in scores]
"""
TASKS = "MODEL.MASK_FORMER.TEST"
OURS = "MODEL.MASKCLIPPP"
SMALL = (
    *("SOLVER.MAX_ITER", "1", "SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.CROP.SIZE", "[64, 64]", "INPUT.SIZE_DIVISIBILITY", "64"),
)
REGISTRIES = (META_ARCH_REGISTRY, EVALUATOR_REGISTRY, MASK_GENERATOR_REGISTRY, MASK_POLICY_REGISTRY)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A dataset of one's own with an evaluator of one's own, and the plug-ins; nothing stays registered."""
    before = [dict(registry._obj_map) for registry in REGISTRIES]
    folder = make_world(
        tmp_path_factory.mktemp("data"), counts={"train": 2, "val": 3, "test": 0}, workers=1, show_progress=False
    )
    files = {"images": "images/validation", "labels": "annotations_detectron2/validation", "classes": "toy_96"}
    (folder / "train.yaml").write_text(yaml.safe_dump(files))
    (folder / "test.yaml").write_text(yaml.safe_dump(files | {"evaluator": "one_class_a_half"}))
    for name, code in {"policy": POLICY, "generator": GENERATOR, "evaluator": EVALUATOR, "method": METHOD}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
    yield folder
    for registry, content in zip(REGISTRIES, before, strict=True):
        registry._obj_map.clear()
        registry._obj_map.update(content)
    for name in [name for name in DatasetCatalog.list() if name.startswith(str(folder))]:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def command(world: Path, root_dir: Path, out: Path, plugins: tuple[str, ...], *options: str) -> list[str]:
    named = [part for name in plugins for part in ("--plugin", str(world / name))]
    return [
        *named,
        *("--config-file", str(root_dir / "configs/toy/maskclippp_toy_clip-vit.yaml"), "--num-gpus", "0"),
        *("--tag", "t", *(option for option in options if option.startswith("--") or option.isdecimal())),
        *("OUTPUT_DIR", str(out), "DATASETS.TRAIN", str(world / "train.yaml"), "DATASETS.TEST"),
        *(str(world / "test.yaml"), *SMALL),
        *(option for option in options if not option.startswith("--") and not option.isdecimal()),
    ]


CHOICE = (f"{OURS}.VISUAL_ENCODER.MASK_POLICY", "NonEmptyPatches", f"{OURS}.SEGMENTOR.NAME", "Halves")


def results(out: Path, world: Path) -> dict:
    path = out / "maskclippp_toy_clip-vit" / "t" / "inference" / "results.json"
    return json.loads(path.read_text())[str(world / "test.yaml")]


def test_a_policy_a_generator_and_an_evaluator(world, root_dir, tmp_path, capfd) -> None:
    """Trained with the policy, evaluated with the masks, whose halves have one class each, by the evaluator."""
    plugins = ("policy.py", "generator.py", "evaluator.py")
    status = main(command(world, root_dir, tmp_path, plugins, *CHOICE))
    assert status == 0, capfd.readouterr().err
    assert results(tmp_path, world) == {"halves": {"pictures": 3.0, "halves": 6.0, "classes": 96.0}}


def test_a_method_in_two_processes(world, root_dir, tmp_path, capfd) -> None:
    """Each process imports the plug-ins."""
    plugins = ("method.py", "evaluator.py")
    options = (
        "--num-processes",
        "2",
        "MODEL.META_ARCHITECTURE",
        "ByBrightness",
        "MODEL.MASKCLIPPP.PSM.NAME",
        "DummyPSM",
    )
    status = main(command(world, root_dir, tmp_path, plugins, *options))
    assert status == 0, capfd.readouterr().err
    assert results(tmp_path, world)["halves"]["pictures"] == 3


def test_a_known_type_is_evaluated_by_both(world, root_dir, tmp_path) -> None:
    """A plug-in for a type that has an evaluator stands beside it."""
    path = tmp_path / "beside.py"
    text = textwrap.dedent(EVALUATOR).replace("one_class_a_half", "sem_seg").replace("CountsHalves", "CountsBeside")
    path.write_text(text)
    load_plugins([str(path), str(path)])
    kinds = [entry.kind.__name__ for entry in evaluators_of("sem_seg")]
    assert kinds == ["SemSegEvaluator", "CountsBeside"]
    dataset = EvaluatedDataset(get_metadata(str(world / "train.yaml")))
    assert evaluators_of("sem_seg")[1].kind.for_dataset(dataset).num_classes == 96
    EVALUATOR_REGISTRY._obj_map.pop("CountsBeside")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("none.py", None, "there is no such file"),
        ("no_such_package.part", None, "there is no such module; name a file that ends in .py, or a module"),
        ("maskclippp.no_such_room", None, "there is no such module"),
        ("a.py", "x = 1\nx = = 2\n", ", line 2: SyntaxError"),
        ("b.py", "\n\nimport no_such_package\n", ", line 3: ModuleNotFoundError: No module named 'no_such_package'"),
        ("c.py", "def f():\n    raise KeyError('k')\nf()\n", ", line 2: KeyError: 'k'"),
        ("d.py", "raise SystemExit(0)\n", ", line 1: SystemExit: 0"),
        (
            "e.py",
            "from maskclippp.evaluation import register_evaluator\nregister_evaluator('sem_seg', task='semantics')\n",
            ": ValueError: an evaluator is for types of datasets and one of semantic, panoptic, instance, always",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin_is_one_line(world, root_dir, tmp_path, capfd, name, code, message) -> None:
    path = str(tmp_path / name) if name.endswith(".py") else name
    if code is not None:
        Path(path).write_text(code)
    for _ in range(2):  # a failed import leaves nothing behind
        assert main(["--plugin", path, *command(world, root_dir, tmp_path, ())]) == 1
        err = capfd.readouterr().err
        assert err.startswith(f"error: --plugin {path}") and message in err and err.count("\n") == 1
    assert not (tmp_path / "maskclippp_toy_clip-vit").exists()


def test_without_the_plugin_its_names_are_not_known(world, root_dir, tmp_path) -> None:
    """In a process of its own; nor does a dataset's or config's text bring code in."""
    call = [sys.executable, str(root_dir / "train_maskclippp.py")]
    for options, message in (
        (("--eval-only", f"{OURS}.TEST.MASK_ACC", "True", *CHOICE), "no mask policy is called 'NonEmptyPatches'"),
        ((), "type 'one_class_a_half'): no evaluator is registered for this evaluator_type; valid: "),
    ):
        arguments = command(world, root_dir, tmp_path, (), *options)
        done = subprocess.run([*call, *arguments], capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr.splitlines()[-1], done.stderr


def test_an_evaluation_that_was_killed_does_not_go_on_with_other_code(world, tmp_path) -> None:
    path = tmp_path / "counts.py"
    path.write_text("x = 1\n")
    before = identity(default_config(), "", [])
    load_plugins([str(path)])
    loaded = identity(default_config(), "", [])
    path.write_text("x = 22\n")
    assert len({before, loaded, identity(default_config(), "", [])}) == 3
