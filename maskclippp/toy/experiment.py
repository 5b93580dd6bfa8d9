"""One run on the toy world: train (or not), then evaluate on the test scenes in several ways.

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

from maskclippp.config import load_config
from maskclippp.data.datasets import get_dataset, get_metadata, register_all
from maskclippp.data.mappers import build_mapper
from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.engine.evaluate import evaluate
from maskclippp.engine.seeding import Stream, seed_everything, settle_seed
from maskclippp.engine.trainer import train
from maskclippp.evaluation.label_maps import predicted_labels
from maskclippp.evaluation.saved_label_maps import saved_classes, unlabelled_value, write_label_map
from maskclippp.inference import TaskInference
from maskclippp.methods import Labeller, Method, build_method
from maskclippp.utils.files import atomic_write
from maskclippp.utils.logging import setup_logging

from .writer import IGNORED

CONFIG = "configs/toy/maskclippp_toy_clip-vit.yaml"
CONFIG_WITH_GENERATOR = "configs/toy/maskclippp_toy_clip-vit_m2f.yaml"
GENERATOR_CONFIG = "configs/toy/mask2former_toy.yaml"
SEMANTIC_SET, PANOPTIC_SET = "toy_sem_seg_test", "toy_panoptic_test"
ORIGINAL_CLIP = ("MODEL.MASKCLIPPP.PSM.NAME", "DummyPSM", "MODEL.MASKCLIPPP.USE_LOGIT_SCALE", "True")
RESULTS_FILE, GALLERY_FILE, SPEC_FILE = "results.json", "gallery.json", "experiment.json"
SCENES_FOLDER = "scenes"


@dataclass(frozen=True)
class Experiment:
    """A run.

    Attributes:
        name: for people.
        folder: of all output.
        tests: names of its evaluations, see :func:`evaluations`; after a training the first one is made at once.
        config: config file.
        seed: of training; None: no training.
        iterations: of training.
        weights: checkpoint of a run without training; empty: the original CLIP is evaluated.
        masks: folder of the imperfect masks of the test pictures.
        generator: checkpoint of the mask generator.
        overrides: config keys and values, in turn.
        plugins: modules to import first; they register what the overrides name.
        gallery: number of test scenes whose results are kept for the gallery.
    """

    name: str
    folder: str
    tests: tuple[str, ...]
    config: str = CONFIG
    seed: int | None = None
    iterations: int = 0
    weights: str = ""
    masks: str = ""
    generator: str = ""
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
    own = ("SOLVER.MAX_ITER", str(experiment.iterations)) if experiment.trains else ()
    own = ORIGINAL_CLIP if not (experiment.trains or experiment.weights) else own
    common = ("OUTPUT_DIR", experiment.folder, "MODEL.DEVICE", "cuda" if torch.cuda.is_available() else "cpu")
    cfg = load_config(experiment.config, [*common, "DATALOADER.NUM_WORKERS", "0", *own, *experiment.overrides, *more])
    cfg.freeze()
    return cfg


def evaluations(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Return the evaluations of a run: name -> overrides."""
    ours, tasks = "MODEL.MASKCLIPPP", "MODEL.MASK_FORMER.TEST"
    semantic = ("DATASETS.TEST", f"('{SEMANTIC_SET}',)")
    panoptic = ("DATASETS.TEST", f"('{PANOPTIC_SET}',)", f"{tasks}.PANOPTIC_ON", "True", f"{tasks}.INSTANCE_ON", "True")
    offline = (f"{ours}.SEGMENTOR.NAME", "OfflineSegmentor", f"{ours}.SEGMENTOR.OFFLINE_ANN_SUFFIX", ".png")
    known = {
        "mask_accuracy": (*semantic, f"{ours}.TEST.MASK_ACC", "True"),
        "ground_truth_masks": (*panoptic, f"{ours}.SEGMENTOR.NAME", "PanGTSegmentor"),
        "felzenszwalb_masks": (*semantic, *offline, f"{ours}.SEGMENTOR.OFFLINE_ANN_DIR", experiment.masks),
        "generated_masks": (
            *panoptic,
            *(f"{ours}.SEGMENTOR.PRETRAINED", experiment.generator),
            *(f"{ours}.VISUAL_ENCODER_F.PRETRAINED", experiment.generator),
        ),
        "masks_alone": (*panoptic, f"{ours}.TEST.SEGMENTOR_ONLY", "True"),
    }
    return {name: known[name] for name in experiment.tests}


def run(experiment: Experiment) -> dict:
    """Train if asked to, evaluate, keep results and what the gallery shows in the folder; return the results."""
    for plugin in experiment.plugins:
        importlib.import_module(plugin)
    setup_logging(experiment.folder, rank=0)
    register_all()
    results: dict = {"name": experiment.name}
    if experiment.trains:
        results |= _train(experiment)
    for name, overrides in evaluations(experiment).items():
        cfg = configure(experiment, *overrides)
        method = build_method(cfg)
        Checkpointer(method).resume_or_load(results.get("weights", experiment.weights), resume=False)
        if name not in results:
            results[name] = _metrics(evaluate(cfg, method))
        if name == "mask_accuracy" and experiment.gallery:
            _write(experiment, GALLERY_FILE, classify_masks(cfg, method.eval(), experiment.gallery))
        if name == "generated_masks" and experiment.gallery:
            segment_scenes(cfg, method.eval(), experiment.gallery, Path(experiment.folder) / SCENES_FOLDER)
    _write(experiment, RESULTS_FILE, results)
    return results


@torch.no_grad()
def classify_masks(cfg: CfgNode, method: Method, count: int) -> dict[str, list[int]]:
    """Return the classes that the model gives to the ground-truth masks of the first test scenes, by file name."""
    mapper = build_mapper(cfg, is_train=False)
    records = get_dataset(SEMANTIC_SET)[:count]
    label = _labeller(cfg, method, SEMANTIC_SET)
    return {record["file_name"]: label([mapper(record)])[0]["mask_cls"].tolist() for record in records}


@torch.no_grad()
def segment_scenes(cfg: CfgNode, method: Method, count: int, folder: Path) -> None:
    """Write the label maps that the model makes of the first test scenes, as PNGs with the scenes' names."""
    mapper = build_mapper(cfg, is_train=False)
    label = _labeller(cfg, method, PANOPTIC_SET)
    names = get_metadata(PANOPTIC_SET).stuff_classes
    classes = saved_classes(names, unlabelled_value(len(names), IGNORED))
    for record in get_dataset(PANOPTIC_SET)[:count]:
        (output,) = label([mapper(record)])
        shown = predicted_labels(output, len(names)).shown
        write_label_map(folder / f"{Path(record['file_name']).stem}.png", shown, classes)


def _labeller(cfg: CfgNode, method: Method, dataset: str) -> Labeller:
    prepared = method.prepare(get_metadata(dataset))
    return Labeller(method, prepared, TaskInference.from_config(cfg, label_maps=True))


def _train(experiment: Experiment) -> dict:
    first, overrides = next(iter(evaluations(experiment).items()))
    cfg = configure(experiment, "SEED", str(experiment.seed), *overrides)
    seed = settle_seed(cfg.SEED, cfg.OUTPUT_DIR, resume=False)
    seed_everything(seed, Stream.INITIALISATION)
    method = build_method(cfg)
    start = time.perf_counter()
    final = train(cfg, method, seed=seed, resume=True)
    seconds = time.perf_counter() - start
    return {first: _metrics(final), "weights": final_weights(experiment), "train_seconds": seconds}


def final_weights(experiment: Experiment) -> str:
    """Return where a run's training leaves its checkpoint."""
    return str(Path(experiment.folder) / "model_final.pth")


def _metrics(results: dict) -> dict[str, float]:
    """Return the metrics of all tasks on the one test set; AP is that of masks."""
    (tasks,) = results.values()
    return {name: value for task, metrics in tasks.items() if task != "bbox" for name, value in metrics.items()}


def _write(experiment: Experiment, name: str, content: dict) -> None:
    with atomic_write(Path(experiment.folder) / name) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Experiment.load(sys.argv[1]))
