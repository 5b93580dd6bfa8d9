"""Pre-trains the tiny CLIP of the toy world: words of centred pictures first, then contrast with captions as well.

Contrastive training alone moves little in the minutes that a small model may take on a processor; a linear head that
names attribute, shape and ground from the image embedding (dropped afterwards) gives the image tower its words, the
contrast then ties them to the text tower. A caption counts as a match of every picture of the batch that it is true of.
No masks and no dense targets are used.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import text_global_pool
from safetensors.torch import save
from torch import Tensor, nn
from tqdm import tqdm

from maskclippp.utils.errors import UserError
from maskclippp.utils.files import atomic_write
from maskclippp.utils.paths import ASSETS
from maskclippp.utils.torch_files import save_torch

from .classes import ATTRIBUTES, SHAPES, STUFF
from .clip_data import KINDS, Pictures, caption_matches, captions_for, draw_pictures, word_targets
from .tokenizer import CONTEXT_LENGTH, load_tokenizer, write_vocabulary
from .zero_shot import accuracy_by_word_class, class_scores, to_input, true_classes

logger = logging.getLogger(__name__)

MODEL_FILE, VOCABULARY_FILE, WEIGHTS_FILE, LOG_FILE = (
    "toy-clip.json", "bpe_simple_vocab.txt.gz", "open_clip_model.safetensors", "training.json",
)  # fmt: skip
_GROUP_SIZES = (len(ATTRIBUTES), len(SHAPES), len(STUFF))
_TEST_SEED_OFFSET = 1_000_003


@dataclass(frozen=True)
class Settings:
    """Everything that the result depends on, beside the machine's arithmetic.

    Attributes:
        steps: optimiser steps; the learning rate falls to 0 along a cosine over them.
        word_steps: first steps, on centred pictures with the word loss only.
        batch: pictures per step.
        lr: peak learning rate (AdamW).
        weight_decay: of matrices.
        word_weight: weight of the word loss beside the contrast.
        ema: decay of the averaged weights, which are the ones that are shipped.
        scenes: scenes drawn for each kind of picture.
        shares: share of each kind in a batch after ``word_steps``.
        seed: of weights, pictures and captions.
    """

    steps: int = 13000
    word_steps: int = 1300
    batch: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    word_weight: float = 1.0
    ema: float = 0.998
    scenes: tuple[int, ...] = (30000, 80000, 4000, 12000, 16000)
    shares: tuple[float, ...] = (0.15, 0.45, 0.05, 0.25, 0.10)
    seed: int = 0


def model_config(vocab_size: int) -> dict:
    """Return the open_clip model configuration of the tiny CLIP."""
    return {
        "embed_dim": 96,
        "vision_cfg": {"image_size": 48, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH, "vocab_size": vocab_size, "width": 96, "heads": 3, "layers": 2,
            "tokenizer_kwargs": {"bpe_path": f"maskclippp://toy_clip/{VOCABULARY_FILE}"},
        },
    }  # fmt: skip


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """Encode sentences (B, L) cut after the longest one: with causal attention that equals the padded result."""
    length = int(tokens.argmax(1).max()) + 1
    tokens = tokens[:, :length]
    features = model.token_embedding(tokens) + model.positional_embedding[:length]
    features = model.ln_final(model.transformer(features, attn_mask=model.attn_mask[:length, :length]))
    return text_global_pool(features, tokens, model.text_pool_type) @ model.text_projection


def word_loss(word_logits: Tensor, targets: list[np.ndarray]) -> Tensor:
    """Cross-entropy of each group of words against the words that are true of the picture, alike if several.

    Args:
        word_logits: (B, 27): attributes, shapes, stuff.
        targets: (B, words) bool for each group; a picture without a word of a group does not count there.
    """
    losses = []
    for logits, target in zip(word_logits.split(_GROUP_SIZES, 1), targets, strict=True):
        truth = torch.from_numpy(target).float()
        count = truth.sum(1)
        per_picture = -(truth * logits.log_softmax(1)).sum(1) / count.clamp(min=1)
        losses.append(per_picture.sum() / (count > 0).sum().clamp(min=1))
    return torch.stack(losses).sum()


def contrastive_loss(similarity: Tensor, matches: Tensor) -> Tensor:
    """Symmetric cross-entropy of (B, B) logits, the target spread alike over all true pairs of a row or column."""
    matches = matches.float()
    by_image = -(matches / matches.sum(1, keepdim=True) * similarity.log_softmax(1)).sum(1).mean()
    by_text = -(matches / matches.sum(0, keepdim=True) * similarity.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


class _Sampler:
    """Draws the batch of a step; it depends on the seed and the step only, so that a run can be resumed."""

    def __init__(self, pictures: Pictures, settings: Settings):
        self.settings, self.pictures = settings, pictures
        self.by_kind = [np.flatnonzero(pictures.kinds == kind) for kind in range(len(KINDS))]

    def __call__(self, step: int) -> tuple[np.ndarray, np.random.Generator]:
        """Return indices (B,) and the generator for the rest of the step."""
        rng = np.random.default_rng([self.settings.seed, 77, step])
        kinds = np.zeros(self.settings.batch, int)
        if step >= self.settings.word_steps:
            kinds = rng.choice(len(KINDS), self.settings.batch, p=self.settings.shares)
        return np.array([self.by_kind[kind][rng.integers(len(self.by_kind[kind]))] for kind in kinds]), rng


class Pretrainer:
    """One run: model, averaged model, optimiser, log.

    Args:
        settings: of the run.
        work_dir: where the pictures, checkpoints and vocabulary of the run lie.
        workers: processes that draw pictures.
        command: how the run was started, for the log.
    """

    def __init__(self, settings: Settings, work_dir: Path, workers: int, command: str = ""):
        self.settings, self.work_dir, self.workers = settings, work_dir, workers
        work_dir.mkdir(parents=True, exist_ok=True)
        write_vocabulary(work_dir / VOCABULARY_FILE)
        self.tokenizer: SimpleTokenizer = load_tokenizer(work_dir / VOCABULARY_FILE)
        torch.manual_seed(settings.seed)
        self.model = CLIP(**model_config(self.tokenizer.vocab_size))
        self.word_head = nn.Linear(self.model.text_projection.shape[1], sum(_GROUP_SIZES))
        self.average = copy.deepcopy(self.model).requires_grad_(False).eval()
        named = [*self.model.named_parameters(), *self.word_head.named_parameters()]
        decayed = [p for _, p in named if p.ndim > 1]
        others = [p for _, p in named if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
        self.step, self.seconds, self.curve = 0, 0.0, []
        logger.info("%d parameters", sum(p.numel() for p in self.model.parameters()))
        self.runs = [{"from_step": 0, "steps": settings.steps, "command": command}]

    @cached_property
    def pictures(self) -> Pictures:
        """Return the pool that training draws from."""
        counts = dict(zip(KINDS, self.settings.scenes, strict=True))
        return draw_pictures(counts, seed=self.settings.seed, workers=self.workers)

    @cached_property
    def test(self) -> Pictures:
        """Return the pictures of the evaluations during training."""
        return draw_test_pictures(self.settings.seed, per_class=20)

    @cached_property
    def sampler(self) -> _Sampler:
        """Return what draws the batches."""
        return _Sampler(self.pictures, self.settings)

    def _learning_rate(self) -> float:
        warm_up = min(1.0, (self.step + 1) / 200)
        return self.settings.lr * warm_up * 0.5 * (1 + math.cos(math.pi * self.step / self.settings.steps))

    def _train_step(self) -> dict[str, float]:
        chosen, rng = self.sampler(self.step)
        images = self.pictures.images[chosen]
        flipped = rng.random(len(chosen)) < 0.5
        images[flipped] = images[flipped, :, ::-1]
        embeddings = self.model.encode_image(to_input(images))
        losses = {
            "words": self.settings.word_weight
            * word_loss(self.word_head(embeddings), word_targets(self.pictures, chosen))
        }
        if self.step >= self.settings.word_steps:
            captions = captions_for(self.pictures, chosen, rng)
            text = encode_text(self.model, self.tokenizer([caption.text for caption in captions]))
            similarity = self.model.logit_scale.exp() * F.normalize(embeddings, dim=-1) @ F.normalize(text, dim=-1).T
            matches = torch.from_numpy(caption_matches(self.pictures, chosen, captions))
            losses["contrast"] = contrastive_loss(similarity, matches)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_([p for group in self.optimizer.param_groups for p in group["params"]], 1.0)
        self.optimizer.step()
        self._after_step()
        return {name: float(value.detach()) for name, value in losses.items()}

    @torch.no_grad()
    def _after_step(self) -> None:
        self.model.logit_scale.clamp_(max=math.log(100))
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
        self.step += 1

    def evaluate(self) -> dict[str, float]:
        """Return zero-shot accuracy by word class of the averaged model on fresh pictures."""
        return accuracy_by_word_class(
            class_scores(self.average, self.tokenizer, self.test.images), true_classes(self.test)
        )

    def run(self, *, evaluate_every: int = 500, save_every: int = 500) -> None:
        """Train to the last step, with a bar, evaluations and checkpoints."""
        sampler, test_count = self.sampler, len(self.test)
        logger.info("%d pictures, %d for evaluation", len(sampler.pictures), test_count)
        start = time.perf_counter() - self.seconds
        with tqdm(total=self.settings.steps, initial=self.step, desc="pre-training", unit="step", mininterval=5) as bar:
            while self.step < self.settings.steps:
                losses = self._train_step()
                bar.update()
                self.seconds = time.perf_counter() - start
                if self.step % evaluate_every == 0 or self.step == self.settings.steps:
                    figures = self.evaluate()
                    self.curve.append(
                        {"step": self.step, "seconds": round(self.seconds), **_rounded(losses), **figures}
                    )
                    bar.write(json.dumps(self.curve[-1]))
                if self.step % save_every == 0 or self.step == self.settings.steps:
                    self.save()

    def save(self) -> None:
        """Write the checkpoint (atomically)."""
        state = {
            "settings": _plain(self.settings), "step": self.step, "seconds": self.seconds,
            "curve": self.curve, "runs": self.runs,
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "word_head": self.word_head.state_dict(), "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        with atomic_write(self.work_dir / "checkpoint.pt") as temporary:
            save_torch(state, temporary)

    def resume(self) -> None:
        """Continue from the checkpoint in the work folder; a new number of steps is noted in the log.

        Raises:
            UserError: there is none, or it is of a run with other settings.
        """
        path = self.work_dir / "checkpoint.pt"
        if not path.is_file():
            raise UserError(f"no checkpoint at {path}; run without --resume")
        state = torch.load(path, weights_only=True)
        if {**state["settings"], "steps": self.settings.steps} != _plain(self.settings):
            raise UserError(
                f"{path} is of a run with other settings: {state['settings']}; give the same ones or another --work-dir"
            )
        for name in ("model", "average", "word_head", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.curve = state["step"], state["seconds"], state["curve"]
        self.runs = [*state["runs"], {**self.runs[0], "from_step": self.step}]


def _plain(settings: Settings) -> dict:
    return json.loads(json.dumps(asdict(settings)))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def draw_test_pictures(seed: int, per_class: int) -> Pictures:
    """Draw fresh pictures, ``per_class`` of each of the 96 classes: one thing somewhere on a ground, or a ground."""
    counts = {"single": 88 * per_class, "ground": len(STUFF) * per_class}
    return draw_pictures(counts, seed=seed + _TEST_SEED_OFFSET, show_progress=False)


def ship(work_dir: Path, folder: Path) -> dict[str, float]:
    """Write the assets of the run in ``work_dir`` (finished or not) to ``folder`` and return their figures.

    The weights are the averaged ones in fp16; the figures are measured with the rounded weights on 50 fresh pictures of
    each class that training never evaluated on.
    """
    state = torch.load(work_dir / "checkpoint.pt", weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / VOCABULARY_FILE) as temporary:
        shutil.copyfile(work_dir / VOCABULARY_FILE, temporary)
    tokenizer = load_tokenizer(folder / VOCABULARY_FILE)
    config = model_config(tokenizer.vocab_size)
    weights = {name: value.half().contiguous() for name, value in state["average"].items()}
    with atomic_write(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(save(weights))
    with atomic_write(folder / MODEL_FILE) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")
    model = CLIP(**config).eval()
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    fresh = draw_test_pictures(state["settings"]["seed"] + 1, per_class=50)
    figures = accuracy_by_word_class(class_scores(model, tokenizer, fresh.images), true_classes(fresh))
    log = {
        "runs": state["runs"], "settings": state["settings"], "step": state["step"], "seconds": round(state["seconds"]),
        "zero_shot_percent": figures, "zero_shot_pictures": len(fresh), "curve": state["curve"],
    }  # fmt: skip
    with atomic_write(folder / LOG_FILE) as temporary:
        temporary.write_text(json.dumps(log, indent=1) + "\n")
    return figures


def pretrain(
    settings: Settings, *, work_dir: Path, folder: Path = ASSETS / "toy_clip", workers: int = 2, threads: int = 1,
    resume: bool = False, ship_only: bool = False, command: str = "",
) -> dict[str, float]:  # fmt: skip
    """Pre-train (or continue, or only ship what there is) and return the zero-shot figures of the shipped weights."""
    torch.set_num_threads(threads)
    if not ship_only:
        run = Pretrainer(settings, work_dir, workers, command)
        if resume:
            run.resume()
        run.run()
    return ship(work_dir, folder)
