"""``make demo-study``: two observations of the MaskCLIP++ paper in small, each against the default.

1. Training on generated masks (here felzenszwalb regions, each with the label that most of its pixels have) instead of
   ground-truth masks.
2. A head that can learn classes (an MLP on the mask embedding) instead of the PSM.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from maskclippp.data.annotations import read_label_map
from maskclippp.data.datasets.table import DATASETS
from maskclippp.offline_masks import write_masks
from maskclippp.similarity import PSM_REGISTRY, SimilarityContext
from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write

from .demo import main_rows, parse_arguments, prepare
from .experiment import Experiment
from .report import Row
from .runs import run_all

GENERATED_TRAIN_SET = "toy_sem_seg_train_felzenszwalb"
GENERATED_FOLDER = "toy/annotations_felzenszwalb/training"

# Imported as a plug-in by the runs, this module adds a dataset and a head.
DATASETS[GENERATED_TRAIN_SET] = dataclasses.replace(
    DATASETS["toy_sem_seg_train"],
    name=GENERATED_TRAIN_SET,
    sem_seg_root=GENERATED_FOLDER,
    preparation="make demo-study",
)


@PSM_REGISTRY.register()
class EmbeddingMLP(nn.Module):
    """A head that breaks the alignment with the text: a random two-layer MLP on the mask embedding, then cosine.

    Args:
        embed_dim: D.
    """

    @configurable
    def __init__(self, *, embed_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(embed_dim, 4 * embed_dim), nn.GELU(), nn.Linear(4 * embed_dim, embed_dim))

    @classmethod
    def from_config(cls, cfg, num_templates: int, visual_shapes: dict[str, ShapeSpec]) -> dict:
        """Take D from the visual encoder."""
        return {"embed_dim": visual_shapes["emb"].channels}

    def forward(self, similarity: Tensor, context: SimilarityContext) -> Tensor:
        """(N, Ka, T) -> (N, Ka), from the embeddings behind the similarities."""
        moved = F.normalize(self.layers(F.normalize(context.mask_embeddings.float(), dim=-1)), dim=-1)
        return context.logit_scale.exp() * (moved @ context.text_embeddings.mean(dim=1).T)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; return the exit status."""
    args = parse_arguments(__doc__, arguments)
    try:
        original, *default = prepare(args)
        root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()
        write_generated_labels(root, Path(args.output) / "felzenszwalb_training", args.workers)
        arms = {"default: ground-truth masks, PSM": default} | variants(default, Path(args.output))
        experiments = [original, *(run for runs in arms.values() for run in runs)]
        before, *results = run_all(experiments, workers=args.workers)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    count = len(default)
    tables = {name: main_rows(before, results[i * count : (i + 1) * count]) for i, name in enumerate(arms)}
    print(f"\n{comparison(tables)}")
    with atomic_write(Path(args.output) / "study.json") as temporary:
        temporary.write_text(json.dumps({n: [dataclasses.asdict(r) for r in rows] for n, rows in tables.items()}))
    return 0


def variants(default: Sequence[Experiment], output: Path) -> dict[str, list[Experiment]]:
    """Return the runs of both studies: the default's, each with one thing changed."""
    changes = {
        "generated masks": ("generated", ("DATASETS.TRAIN", f"('{GENERATED_TRAIN_SET}',)")),
        "class-specific head": ("mlp_head", ("MODEL.MASKCLIPPP.PSM.NAME", "EmbeddingMLP")),
    }
    return {
        name: [
            dataclasses.replace(
                run,
                name=f"{name}, seed {run.seed}",
                folder=str(output / f"{folder}_seed{run.seed}"),
                overrides=(*run.overrides, *overrides),
                plugins=(__spec__.name,),
                gallery=0,
            )
            for run in default
        ]
        for name, (folder, overrides) in changes.items()
    }


def write_generated_labels(root: Path, masks: Path, workers: int) -> None:
    """Write training label maps in which every felzenszwalb region has the label of most of its pixels."""
    images, labels = root / "toy/images/training", root / "toy/annotations_detectron2/training"
    write_masks(images, masks, workers=workers)
    paths = sorted(labels.glob("*.png"))
    targets = [root / GENERATED_FOLDER / path.name for path in paths]
    regions = [masks / path.name for path in paths]
    with ProcessPoolExecutor(workers) as pool:
        for _ in tqdm(
            pool.map(_relabel, paths, regions, targets, chunksize=16), total=len(paths), desc="generated labels"
        ):
            pass


def majority_labels(labels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Give every region (H, W) of region numbers the most frequent label (H, W) of its pixels."""
    counts = np.zeros((regions.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (regions, labels), 1)
    return counts.argmax(axis=1)[regions]


def comparison(tables: dict[str, list[Row]]) -> str:
    """Return one line per metric and one column per arm."""
    names = [row.name for row in next(iter(tables.values()))]
    lines = [f"{'test scenes, %':<44}{'original':>10}" + "".join(f"{name:>36}" for name in tables)]
    for index, name in enumerate(names):
        rows = [table[index] for table in tables.values()]
        cells = "".join(f"{f'{row.mean:.1f} ± {row.spread:.1f}':>36}" for row in rows)
        lines.append(f"{name:<44}{rows[0].before:>10.1f}{cells}")
    return "\n".join(lines)


def _relabel(labels: Path, regions: Path, target: Path) -> None:
    relabelled = majority_labels(read_label_map(labels), read_label_map(regions))
    with atomic_write(target) as temporary:
        Image.fromarray(relabelled.astype(np.uint8)).save(temporary)


if __name__ == "__main__":
    raise SystemExit(main())
