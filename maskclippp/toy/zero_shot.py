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


def accuracy_by_word_class(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Average over pictures, in percent.

    Args:
        scores: (N, 96) similarities.
        truth: (N,) class ids.

    Returns:
        ``all``: right class among 96; ``attribute`` and ``shape``: right word in the predicted class, over things;
        ``stuff``; one figure for each kind of class (seen, held-out combination, ...); ``unseen``; ``unseen among
        unseen`` (only the 36 unseen classes compete).
    """
    predicted = scores.argmax(1)
    true_entries, predicted_entries = [CLASSES[i] for i in truth], [CLASSES[i] for i in predicted]
    right = predicted == truth
    kinds = np.array([entry.kind for entry in true_entries])
    is_thing = np.array([entry.is_thing for entry in true_entries])
    same_word = [
        np.array(
            [
                p.words[slot : slot + 1] == t.words[slot : slot + 1] and p.is_thing
                for p, t in zip(predicted_entries, true_entries, strict=True)
            ]
        )
        for slot in (0, 1)
    ]
    unseen = ~_IS_SEEN[truth]
    among_unseen = np.where(_IS_SEEN, -np.inf, scores).argmax(1) == truth
    groups = {
        "all": right, "attribute": same_word[0][is_thing], "shape": same_word[1][is_thing], "stuff": right[~is_thing],
        **{kind: right[kinds == kind] for kind in CLASS_KINDS},
        "unseen": right[unseen], "unseen among unseen": among_unseen[unseen],
    }  # fmt: skip
    return {name: round(100 * float(values.mean()), 2) for name, values in groups.items() if len(values)}
