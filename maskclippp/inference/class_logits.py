"""From our logits and a generator's to the class logits of the tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-8


def geometric_ensemble(logits: Tensor, generator_logits: Tensor, seen: Tensor, *, alpha: float, beta: float) -> Tensor:
    """Mix two classifiers: log(p_generator^(1-a) * p^a + 1e-8), a = alpha for seen and beta for unseen classes.

    Source: Yu et al. 2023 (FC-CLIP), section 3.3.

    Args:
        logits: (Q, K) of ours.
        generator_logits: (Q, K + 1) over the same classes; the last column, void, is left out.
        seen: (K,) bool.

    Returns:
        (Q, K) log-probabilities (not normalised).
    """
    ours = logits.softmax(dim=-1)
    theirs = generator_logits[:, :-1].softmax(dim=-1)
    weight = torch.where(seen, alpha, beta)
    return torch.log(theirs ** (1 - weight) * ours**weight + EPSILON)


def train_to_test_lookup(train_names: Sequence[Sequence[str]], test_names: Sequence[Sequence[str]]) -> Tensor:
    """Return for each train class, and last for void, its test class: the first one that shares a synonym, else K.

    Args:
        train_names, test_names: the synonyms of each class.

    Returns:
        (K' + 1,) long, 0 to K.
    """
    first_class: dict[str, int] = {}
    for index, synonyms in enumerate(test_names):
        for name in synonyms:
            first_class.setdefault(name, index)
    void = len(test_names)
    found = [min((first_class.get(name, void) for name in synonyms), default=void) for synonyms in train_names]
    return torch.tensor([*found, void])


def closed_to_test_logits(generator_logits: Tensor, lookup: Tensor, num_classes: int) -> Tensor:
    """Move logits of a generator with a fixed vocabulary to the test classes: the mean of all that land on one.

    Args:
        generator_logits: (Q, K' + 1), the last column void.
        lookup: (K' + 1,) of :func:`train_to_test_lookup`.
        num_classes: K.

    Returns:
        (Q, K + 1); classes that nothing lands on have 0.
    """
    result = generator_logits.new_zeros((len(generator_logits), num_classes + 1))
    index = lookup.to(generator_logits.device).expand(len(generator_logits), -1)
    return result.scatter_reduce(1, index, generator_logits, "mean", include_self=False)


def add_void(logits: Tensor, generator_logits: Tensor) -> Tensor:
    """Append the generator's void probability: (Q, K) and (Q, K' + 1) -> (Q, K + 1) log-probabilities."""
    void = generator_logits.softmax(dim=-1)[:, -1:]
    return torch.log(torch.cat([logits.softmax(dim=-1) * (1 - void), void], dim=-1) + EPSILON)


def object_scores(logits: Tensor) -> Tensor:
    """Return how sure a classifier with void (Q, K + 1) is that there is something, 1 - void, (Q,) float64 in [0, 1].

    In double precision, as masks are ranked by it, and many are all but certain.
    """
    return 1 - logits.double().softmax(dim=-1)[:, -1]


def combine_logits(
    logits: Tensor,
    generator_logits: Tensor,
    seen: Tensor,
    *,
    ensemble: tuple[float, float] | None = None,
    lookup: Tensor | None = None,
) -> Tensor:
    """Bring in what the generator says: about the classes if they are ensembled, and about void in any case.

    Args:
        logits: (Q, K) of ours.
        generator_logits: (Q, K' + 1), the last column void.
        seen: (K,) bool.
        ensemble: alpha and beta of :func:`geometric_ensemble`; None: the generator's classes do not count.
        lookup: of :func:`train_to_test_lookup`, for a generator whose classes are not the test classes.

    Returns:
        (Q, K + 1) log-probabilities.
    """
    if ensemble is not None:
        on_test = generator_logits if lookup is None else closed_to_test_logits(generator_logits, lookup, len(seen))
        logits = geometric_ensemble(logits, on_test, seen, alpha=ensemble[0], beta=ensemble[1])
    return add_void(logits, generator_logits)


def mask_classes(logits: Tensor, num_classes: int, among: Tensor | None = None) -> Tensor:
    """Return the best class of each mask, void left out: (Q, K or K + 1) -> (Q,) long.

    Args:
        among: (K,) bool, the classes that compete; None: all.
    """
    scores = logits[:, :num_classes]
    return (scores if among is None else scores.masked_fill(~among, float("-inf"))).argmax(dim=-1)
