"""Zero-shot accuracy of a CLIP on single toy objects, all 96 classes competing, told apart by word class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn

from .classes import CLASSES
from .clip_data import Pictures

TEMPLATE = "a photo of a {}."
CLASS_KINDS = ("seen", "held-out combination", "caption-only word", "unseen stuff")
_IS_SEEN = np.array([entry.is_seen for entry in CLASSES])
_IS_THING = np.array([entry.is_thing for entry in CLASSES])


def to_input(images: np.ndarray) -> Tensor:
    """Normalise (B, h, w, 3) uint8 as CLIP does -> (B, 3, h, w) float32."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float().div_(255)
    pixels = (pixels - torch.tensor(OPENAI_DATASET_MEAN)) / torch.tensor(OPENAI_DATASET_STD)
    return pixels.permute(0, 3, 1, 2).contiguous()


def true_classes(pictures: Pictures) -> np.ndarray:
    """Return the class id of each picture's thing, or of its ground where there is no thing: (N,) int64."""
    return np.where(pictures.things[:, 0] >= 0, pictures.things[:, 0], pictures.grounds[:, 0]).astype(np.int64)


@torch.no_grad()
def class_scores(model: nn.Module, tokenizer: Callable, images: np.ndarray, chunk: int = 256) -> np.ndarray:
    """Return the similarity (N, 96) of each picture with each class, the best of the class's synonyms."""
    names = [(entry.id, name) for entry in CLASSES for name in entry.names]
    text = F.normalize(model.encode_text(tokenizer([TEMPLATE.format(name) for _, name in names])), dim=-1)
    parts = [model.encode_image(to_input(images[i : i + chunk])) for i in range(0, len(images), chunk)]
    by_name = F.normalize(torch.cat(parts), dim=-1) @ text.T
    owner = torch.tensor([index for index, _ in names]).expand_as(by_name)
    best = by_name.new_full((len(images), len(CLASSES)), -2.0).scatter_reduce(1, owner, by_name, "amax")
    return best.numpy()


def _words_right(predicted: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Tell for each picture of a thing whether the predicted class has its attribute and its shape (no stuff has)."""
    pairs = [(CLASSES[p], CLASSES[t]) for p, t in zip(predicted, truth, strict=True) if CLASSES[t].is_thing]
    return {
        name: np.array([p.is_thing and p.words[slot] == t.words[slot] for p, t in pairs])
        for slot, name in enumerate(("attribute", "shape"))
    }


def accuracy_by_word_class(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Average over pictures, in percent.

    Args:
        scores: (N, 96) similarities.
        truth: (N,) class ids.

    Returns:
        All 96 classes compete in: ``all``; ``attribute`` and ``shape``, that word is right for a thing; ``stuff``; one
        figure for each kind of class (seen, held-out combination, ...); ``unseen``. Fewer compete in: ``unseen among
        unseen`` (36); ``attribute among things``, ``shape among things`` (88), where a picture of a thing on sand
        cannot be called sand, which is true of it as well.
    """
    predicted = scores.argmax(1)
    right, unseen = predicted == truth, ~_IS_SEEN[truth]
    kinds = np.array([CLASSES[i].kind for i in truth])
    is_thing = np.array([CLASSES[i].is_thing for i in truth])
    among_unseen = np.where(_IS_SEEN, -np.inf, scores).argmax(1) == truth
    among_things = np.where(_IS_THING, scores, -np.inf).argmax(1)
    groups = {
        "all": right,
        **_words_right(predicted, truth),
        "stuff": right[~is_thing],
        **{kind: right[kinds == kind] for kind in CLASS_KINDS},
        "unseen": right[unseen],
        "unseen among unseen": among_unseen[unseen],
        **{f"{name} among things": values for name, values in _words_right(among_things, truth).items()},
    }
    return {name: round(100 * float(values.mean()), 2) for name, values in groups.items() if len(values)}
