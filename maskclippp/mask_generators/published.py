"""Published checkpoints of mask generators: their names, older ones too, and what a file that does not fit is of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from maskclippp.utils.checkpoint_io import compare_keys, read_checkpoint
from maskclippp.utils.errors import UserError
from maskclippp.utils.weights import weights_are_skipped

HEAD = "sem_seg_head."
PIXEL_DECODER = f"{HEAD}pixel_decoder."
PREDICTOR = f"{HEAD}predictor."
VOID = "void_embedding.weight"


def generator_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Choose the entries of a generator from a published checkpoint, under the present names.

    The names decide which version a file is of, not its metadata, which copies of the files have lost.
    """
    chosen = {key: value for key, value in weights.items() if key.startswith(HEAD) or key == VOID}
    before_pixel_decoder = not any(key.startswith(PIXEL_DECODER) for key in chosen)

    def present(key: str) -> str:
        if before_pixel_decoder and key.startswith(HEAD) and not key.startswith(PREDICTOR):
            key = PIXEL_DECODER + key.removeprefix(HEAD)
        return key.replace(f"{PREDICTOR}static_query.", f"{PREDICTOR}query_feat.")

    return {present(key): value for key, value in chosen.items()}


def load_generator(generator: nn.Module, path: str | Path) -> None:
    """Load a published checkpoint into a generator; every one of its parameters must be there.

    Inside :func:`~maskclippp.utils.weights.without_weights` nothing is read.

    Raises:
        UserError: unreadable file, or one of another family or size: what it is of, and the first key that differs.
    """
    if weights_are_skipped():
        return
    found = read_checkpoint(path)["model"]
    weights = generator_weights(found)
    model = generator.state_dict()
    fit = compare_keys(model, weights)
    if not fit.complete:
        missing = [f"{key} is missing" for key in fit.missing]
        extra = [f"{key} is unknown" for key in fit.unexpected]
        differences = [*fit.mismatched, *missing, *extra]
        others = f" (and {len(differences) - 1} others)" if len(differences) > 1 else ""
        raise UserError(
            f"{path}: it is {describe(found)}, but the config makes {describe(model)}; first difference: "
            f"{differences[0]}{others}; check SEGMENTOR.NAME, VISUAL_ENCODER_F, NUM_OBJECT_QUERIES and NUM_CLASSES"
        )
    generator.load_state_dict(weights)


def describe(weights: Mapping[str, Tensor]) -> str:
    """Say in words which family and size of generator a state dict is of."""
    head = generator_weights(weights)
    if not any(key.startswith(PREDICTOR) for key in head):
        first = next(iter(weights), "nothing")
        return f"no Mask2Former-type generator (it has {first} and others)"
    family = "Mask2Former"
    if VOID in head or f"{PREDICTOR}logit_scale" in head:
        family = "MAFT+" if any(key.startswith("cdt.") for key in weights) else "FC-CLIP or MAFT+"
    facts = [f"features of {', '.join(map(str, _feature_widths(head)))} channels"]
    sizes = {
        f"{PREDICTOR}query_feat.weight": (0, "{} queries", 0),
        f"{PREDICTOR}class_embed.weight": (0, "{} classes", -1),
        VOID: (1, "text of {} numbers", 0),
    }
    for key, (axis, words, more) in sizes.items():
        if key in head and head[key].dim() == 2:
            facts.append(words.format(head[key].shape[axis] + more))
    return f"{family} with {', '.join(facts)}"


def _feature_widths(head: Mapping[str, Tensor]) -> list[int]:
    """Channels of the features that a head takes, those of the finest first."""
    fine = re.compile(re.escape(PIXEL_DECODER) + r"adapter_\d+\.weight")
    coarse = re.compile(re.escape(PIXEL_DECODER) + r"input_proj\.\d+\.0\.weight")
    widths = [head[key].shape[1] for key in sorted(head) if fine.fullmatch(key)]
    return widths + [head[key].shape[1] for key in sorted(head, reverse=True) if coarse.fullmatch(key)]
