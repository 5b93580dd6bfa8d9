"""One run on the toy world: train (or not), then evaluate on the test scenes in three ways.

``python -m maskclippp.toy.experiment SPEC.json`` runs the :class:`Experiment` that the file describes; the demo starts
several of these processes side by side.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

import maskclippp.methods  # noqa: F401  (registers the meta-architecture)

from ..config import load_config
from ..data.datasets import get_dataset, register_all
from ..data.mappers import build_mapper
from ..engine.checkpoint import Checkpointer
from ..engine.evaluate import evaluate
from ..engine.seeding import Stream, seed_everything, settle_seed
from ..engine.trainer import train
from ..utils.files import atomic_write
from ..utils.logging import setup_logging

CONFIG = "configs/toy/maskclippp_toy_clip-vit.yaml"
TEST_SET = "toy_sem_seg_test"
ORIGINAL_CLIP = ("MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM", "MODEL.MASKCLIPPP.USE_LOGIT_SCALE", "True")
RESULTS_FILE, GALLERY_FILE, SPEC_FILE = "results.json", "gallery.json", "experiment.json"


@dataclass(frozen=True)
class Experiment:
    """A run.

    Attributes:
        name: for people.
        folder: of all output.
        masks: folder of the imperfect masks of the test pictures.
        seed: of training; None: no training, the original CLIP is evaluated.
        overrides: config keys and values, in turn.
        plugins: modules to import first; they register what the overrides name.
        gallery: number of test scenes whose mask classes are kept for the gallery.
    """

    name: str
    folder: str
    masks: str
    seed: int | None = None
    overrides: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    gallery: int = 0

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.seed is not None

    def save(self) -> Path:
        """Write the description into the folder and return its path."""
        path = Path(self.folder) / SPEC_FILE
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Experiment:
        """Read what :meth:`save` wrote."""
        fields = json.loads(Path(path).read_text())
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


def configure(experiment: Experiment, *more: str) -> CfgNode:
    """Return the frozen config of a run, changed by ``more`` keys and values."""
    own = () if experiment.trains else ORIGINAL_CLIP
    common = ("OUTPUT_DIR", experiment.folder, "MODEL.DEVICE", "cuda" if torch.cuda.is_available() else "cpu")
    test = ("DATASETS.TEST", f"('{TEST_SET}',)", "DATALOADER.NUM_WORKERS", "0")
    cfg = load_config(CONFIG, [*common, *test, *own, *experiment.overrides, *more])
    cfg.freeze()
    return cfg


def evaluations(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Return the three evaluations: name -> overrides."""
    segmentor = "MODEL.MASKCLIPPP.SEGMENTOR"
    offline = (f"{segmentor}.NAME", "OfflineSegmentor", f"{segmentor}.OFFLINE_ANN_SUFFIX", ".png")
    return {
        "mask_accuracy": ("MODEL.MASKCLIPPP.TEST.MASK_ACC", "True"),
        "ground_truth_masks": (),
        "felzenszwalb_masks": (*offline, f"{segmentor}.OFFLINE_ANN_DIR", experiment.masks),
    }


def run(experiment: Experiment) -> dict:
    """Train if asked to, evaluate, keep the results and the gallery's classes in the folder; return the results."""
    for plugin in experiment.plugins:
        importlib.import_module(plugin)
    setup_logging(experiment.folder, rank=0)
    register_all()
    results: dict = {"name": experiment.name}
    if experiment.trains:
        results |= _train(experiment)
    for name, overrides in evaluations(experiment).items():
        cfg = configure(experiment, *overrides)
        model = build_model(cfg)
        Checkpointer(model).resume_or_load(results.get("weights", ""), resume=False)
        if name not in results:
            results[name] = _only_task(evaluate(cfg, model))
        if name == "mask_accuracy" and experiment.gallery:
            _write(experiment, GALLERY_FILE, classify_masks(cfg, model.eval(), experiment.gallery))
    _write(experiment, RESULTS_FILE, results)
    return results


def classify_masks(cfg: CfgNode, model: torch.nn.Module, count: int) -> dict[str, list[int]]:
    """Return the classes that the model gives to the ground-truth masks of the first test scenes, by file name."""
    mapper = build_mapper(cfg, is_train=False)
    classes = {}
    with torch.no_grad():
        for record in get_dataset(TEST_SET)[:count]:
            classes[record["file_name"]] = model([mapper(record)])[0]["mask_cls"].tolist()
    return classes


def _train(experiment: Experiment) -> dict:
    cfg = configure(experiment, "SEED", str(experiment.seed), *evaluations(experiment)["mask_accuracy"])
    seed = settle_seed(cfg.SEED, cfg.OUTPUT_DIR, resume=False)
    seed_everything(seed, Stream.INITIALISATION)
    model = build_model(cfg)
    start = time.perf_counter()
    final = train(cfg, model, seed=seed, resume=True)
    return {
        "mask_accuracy": _only_task(final),
        "weights": str(Path(cfg.OUTPUT_DIR) / "model_final.pth"),
        "train_seconds": time.perf_counter() - start,
    }


def _only_task(results: dict) -> dict[str, float]:
    """Return the metrics of the one task on the one test set."""
    (task,) = results[TEST_SET].values()
    return dict(task)


def _write(experiment: Experiment, name: str, content: dict) -> None:
    with atomic_write(Path(experiment.folder) / name) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Experiment.load(sys.argv[1]))
