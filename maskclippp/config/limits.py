"""What the value of a key may be, beyond its type: ranges, lengths, words; and which values do not go together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from detectron2.config import CfgNode

_MANY = 10**9
_PIXELS = 100_000

# (pattern of the whole key, least, most); the first that fits counts. ">0" excludes zero.
_RANGES: tuple[tuple[str, float | str, float], ...] = (
    (r"SOLVER\.(MAX_ITER|CHECKPOINT_PERIOD|IMS_PER_BATCH)", 1, _MANY),
    (r"SOLVER\.(WARMUP_ITERS|REFERENCE_WORLD_SIZE|STEPS)", 0, _MANY),
    (r"SOLVER\.(BASE_LR|CLIP_GRADIENTS\.CLIP_VALUE|CLIP_GRADIENTS\.NORM_TYPE)", ">0", math.inf),
    (r"SOLVER\.(WEIGHT_DECAY\w*|\w+_MULTIPLIER|BASE_LR_END|BIAS_LR_FACTOR|GAMMA|WARMUP_FACTOR)", 0, math.inf),
    (r"SOLVER\.(POLY_LR_POWER|POLY_LR_CONSTANT_ENDING)", 0, math.inf),
    (r"SOLVER\.MOMENTUM", 0, 1),
    (r"DATALOADER\.NUM_WORKERS", 0, 1000),
    (r"DATALOADER\.REPEAT_THRESHOLD", 0, 1),
    (r"TEST\.(EVAL_PERIOD|PICTURES)", 0, _MANY),
    (r"TEST\.SAVE_STATE_SECONDS", 0, math.inf),
    (r"TEST\.DETECTIONS_PER_IMAGE", 1, _MANY),
    (r"TEST\.AUG\.(MIN_SIZES|MAX_SIZE)", 1, _PIXELS),
    (r"VIS_PERIOD", 0, _MANY),
    (r"SEED", -(2**63), 2**63 - 1),
    (r"INPUT\.MIN_SIZE_TEST", 0, _PIXELS),
    (r"INPUT\.(MIN_SIZE_TRAIN|MAX_SIZE_TRAIN|MAX_SIZE_TEST|IMAGE_SIZE)", 1, _PIXELS),
    (r"INPUT\.(MIN_SCALE|MAX_SCALE)", ">0", 1000),
    (r"INPUT\.CROP\.SIZE", ">0", _PIXELS),
    (r"INPUT\.CROP\.SINGLE_CATEGORY_MAX_AREA", 0, 1),
    (r"(.*\.)?SIZE_DIVISIBILITY", -1, _PIXELS),
    (r".*\.PIXEL_STD", ">0", math.inf),
    (r"MODEL\.MASKCLIPPP\..*IMAGE_SIZE", 1, _PIXELS),
    (r"MODEL\.MASKCLIPPP\..*IMAGE_SCALE", ">0", 1000),
    (r"MODEL\.MASKCLIPPP\..*(MASK_PRIOR_BEG)", 0, _MANY),
    (r"MODEL\.MASKCLIPPP\.(TEXT_CHUNK_SIZE|PSM\.CORR_WIDTH|PSM\.NUM_HEADS)", 1, _MANY),
    (r"MODEL\.MASKCLIPPP\.PSM\.\w+_DROPOUT_PROB", 0, 1),
    (r"MODEL\.MASKCLIPPP\.CRITERION\.TEMPERATURE", ">0", math.inf),
    (r"MODEL\.(MASKCLIPPP\.TEST|FC_CLIP)\.GEOMETRIC_ENSEMBLE_(ALPHA|BETA)", 0, 1),
    (r"MODEL\.MASKCLIPPP\.TEST\.ENSEMBLE_ON_VALID_MASK", 0, 1),
    (r"MODEL\.MASK_FORMER\.(\w+_WEIGHT)", 0, math.inf),
    (r"MODEL\.MASK_FORMER\.(DROPOUT|IMPORTANCE_SAMPLE_RATIO|TEST\.(OBJECT_MASK|OVERLAP)_THRESHOLD)", 0, 1),
    (r"MODEL\.MASK_FORMER\.OVERSAMPLE_RATIO", 1, 1000),
    (r"MODEL\.MASK_FORMER\.(ENC|DEC)_LAYERS", 0, 1000),
    (r"MODEL\.MASK_FORMER\.(NHEADS|DIM_FEEDFORWARD|HIDDEN_DIM|NUM_OBJECT_QUERIES|TRAIN_NUM_POINTS)", 1, _MANY),
    (r"MODEL\.SEM_SEG_HEAD\.(NUM_CLASSES|CONVS_DIM|MASK_DIM|COMMON_STRIDE)", 1, _MANY),
    (r"MODEL\.SEM_SEG_HEAD\.TRANSFORMER_ENC_LAYERS", 0, 1000),
    (r"MODEL\.SWIN\.\w*DROP\w*_RATE", 0, 1),
    (r"MODEL\.SWIN\.MLP_RATIO", ">0", 1000),
    (r"MODEL\.SWIN\.(PRETRAIN_IMG_SIZE|PATCH_SIZE|EMBED_DIM|DEPTHS|NUM_HEADS|WINDOW_SIZE)", 1, _MANY),
    (r"MODEL\.RESNETS\.(DEPTH|NUM_GROUPS|WIDTH_PER_GROUP|RES2_OUT_CHANNELS|STEM_OUT_CHANNELS)", 1, _MANY),
)
_LENGTHS = {
    "INPUT.MIN_SIZE_TRAIN": (1, _MANY),
    "INPUT.CROP.SIZE": (2, 2),
    "TEST.AUG.MIN_SIZES": (1, _MANY),
    "MODEL.SWIN.DEPTHS": (1, _MANY),
    "MODEL.SWIN.NUM_HEADS": (1, _MANY),
}
_WORDS = {
    r"INPUT\.FORMAT": ("RGB", "BGR"),
    r"INPUT\.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    r"INPUT\.CROP\.TYPE": ("absolute", "absolute_range", "relative", "relative_range"),
    r"INPUT\.RANDOM_FLIP": ("horizontal", "vertical", "none"),
    r"MODEL\.MASKCLIPPP\..*RESIZE_TYPE": ("none", "short", "square", "rel"),
    r"SOLVER\.WARMUP_METHOD": ("linear", "constant"),
}


def check_value(key: str, value: Any) -> None:
    """Check one value by itself.

    Raises:
        ValueError: it is not finite, out of range, a list of another length, or none of the words that there are.
    """
    if key == "TEST.EXPECTED_RESULTS":
        _check_expected(key, value)
    if re.fullmatch(r"DATASETS\.(TRAIN|TEST)", key) and not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{key} must be a list of names, got {value!r}")
    if isinstance(value, (list, tuple)):
        least, most = (3, 3) if re.fullmatch(r".*\.PIXEL_(MEAN|STD)", key) else _LENGTHS.get(key, (0, _MANY))
        if not least <= len(value) <= most:
            wanted = f"{least} values" if least == most else f"at least {least} value"
            raise ValueError(f"{key} must have {wanted}, got {value!r}")
    for number in _numbers(value):
        _check_number(key, number)
    for pattern, words in _WORDS.items():
        if re.fullmatch(pattern, key) and value not in words:
            raise ValueError(f"{key} must be {', '.join(words[:-1])} or {words[-1]}, got {value!r}")


def _check_number(key: str, number: float) -> None:
    if not math.isfinite(number):
        raise ValueError(f"{key} must be finite, got {number!r}")
    for pattern, least, most in _RANGES:
        if re.fullmatch(pattern, key):
            above = number > 0 if least == ">0" else number >= least
            if not (above and number <= most):
                low = "above 0" if least == ">0" else f"at least {least}"
                high = "" if math.isinf(most) else f" and at most {most}"
                raise ValueError(f"{key} must be {low}{high}, got {number!r}")
            return


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _numbers(each)
    elif type(value) in (int, float):
        yield value


def _check_expected(key: str, rows: Any) -> None:
    """[[task, metric, value, tolerance], ...], perhaps with the dataset in front."""
    for index, row in enumerate(rows):
        fits = isinstance(row, (list, tuple)) and len(row) in (4, 5)
        fits = fits and all(isinstance(each, str) for each in row[:-2])
        if not fits or not all(type(each) in (int, float) for each in row[-2:]):
            raise ValueError(f"{key}[{index}] must be [task, metric, value, tolerance], got {row!r}")


def complaints_together(cfg: CfgNode) -> list[str]:
    """Return what is wrong with values that are right by themselves."""
    inputs, decoder = cfg.INPUT, cfg.MODEL.MASK_FORMER
    crop, steps = inputs.CROP, list(cfg.SOLVER.STEPS)
    rules: tuple[tuple[bool, Callable[[], str]], ...] = (
        (
            inputs.MIN_SCALE <= inputs.MAX_SCALE,
            lambda: f"INPUT.MIN_SCALE {inputs.MIN_SCALE} is above INPUT.MAX_SCALE {inputs.MAX_SCALE}",
        ),
        (
            inputs.MIN_SIZE_TRAIN_SAMPLING != "range" or len(inputs.MIN_SIZE_TRAIN) == 2,
            lambda: f"INPUT.MIN_SIZE_TRAIN_SAMPLING range wants two of MIN_SIZE_TRAIN, got {inputs.MIN_SIZE_TRAIN}",
        ),
        (
            not crop.ENABLED or not crop.TYPE.startswith("relative") or max(crop.SIZE) <= 1,
            lambda: f"INPUT.CROP.SIZE {crop.SIZE}: with TYPE {crop.TYPE} they are fractions up to 1",
        ),
        (
            not crop.ENABLED
            or not crop.TYPE.startswith("absolute")
            or all(isinstance(side, int) and side >= 1 for side in crop.SIZE),
            lambda: f"INPUT.CROP.SIZE {crop.SIZE}: with TYPE {crop.TYPE} they are whole pixels",
        ),
        (
            decoder.HIDDEN_DIM % decoder.NHEADS == 0,
            lambda: f"MODEL.MASK_FORMER.HIDDEN_DIM {decoder.HIDDEN_DIM} is no multiple of NHEADS {decoder.NHEADS}",
        ),
        (steps == sorted(steps), lambda: f"SOLVER.STEPS {steps} must ascend"),
    )
    return [tell() for fits, tell in rules if not fits]
