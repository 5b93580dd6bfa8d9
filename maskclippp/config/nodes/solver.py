"""SOLVER: optimizer, learning rates per part, schedule, batch, precision."""

from __future__ import annotations

import math

from ..keys import Key, under
from ..rules import above, at_least, words

_FACTOR = at_least(0, math.inf)

KEYS = under(
    "SOLVER",
    Key("OPTIMIZER", "ADAMW", "ADAMW or SGD"),
    Key("BASE_LR", 0.001, "learning rate after the warm-up", above(0)),
    Key("MOMENTUM", 0.9, "of SGD", at_least(0, 1)),
    Key("NESTEROV", False, "of SGD"),
    Key("WEIGHT_DECAY", 0.0001, "of most parameters", _FACTOR),
    Key("WEIGHT_DECAY_NORM", 0.0, "of the parameters of norms", _FACTOR),
    Key("WEIGHT_DECAY_EMBED", 0.0, "of embeddings", _FACTOR),
    Key("WEIGHT_DECAY_BIAS", None, "of biases; null: WEIGHT_DECAY", _FACTOR),
    Key("BACKBONE_MULTIPLIER", 0.1, "learning rate of Mask2Former's backbone, over BASE_LR", _FACTOR),
    Key("VISUAL_ENCODER_MULTIPLIER", 0.001, "learning rate of VISUAL_ENCODER, over BASE_LR", _FACTOR),
    Key("TEXT_ENCODER_MULTIPLIER", 0.001, "learning rate of TEXT_ENCODER, over BASE_LR", _FACTOR),
    Key(
        "LR_SCHEDULER_NAME", "WarmupMultiStepLR", "WarmupCosineLR, WarmupPolyLR, WarmupConstantLR or WarmupMultiStepLR"
    ),
    Key("MAX_ITER", 40000, "steps of training", at_least(1)),
    Key("STEPS", (30000,), "WarmupMultiStepLR: the steps at which the learning rate falls", at_least(0)),
    Key("GAMMA", 0.1, "WarmupMultiStepLR: factor at each of them", _FACTOR),
    Key("BASE_LR_END", 0.0, "WarmupCosineLR, WarmupPolyLR: last learning rate", _FACTOR),
    Key("POLY_LR_POWER", 0.9, "WarmupPolyLR: exponent", _FACTOR),
    Key("POLY_LR_CONSTANT_ENDING", 0.0, "WarmupPolyLR: the rate never falls below this part of BASE_LR", _FACTOR),
    Key("WARMUP_FACTOR", 0.001, "learning rate of the first step, over BASE_LR", _FACTOR),
    Key("WARMUP_ITERS", 1000, "steps of the warm-up; 0: none", at_least(0)),
    Key("WARMUP_METHOD", "linear", "how the rate rises", words("linear", "constant")),
    Key("CHECKPOINT_PERIOD", 5000, "steps from one checkpoint to the next", at_least(1)),
    Key("IMS_PER_BATCH", 16, "pictures of a step, all processes together", at_least(1)),
    Key("ACCUMULATION_STEPS", 1, "parts of a batch in a process, one after the other; same gradient", at_least(1)),
    Key("CLIP_GRADIENTS.ENABLED", False, "bound gradients"),
    Key("CLIP_GRADIENTS.CLIP_TYPE", "value", "full_model: the norm of all; norm: of each parameter; value: each entry"),
    Key("CLIP_GRADIENTS.CLIP_VALUE", 1.0, "the bound", above(0)),
    Key("CLIP_GRADIENTS.NORM_TYPE", 2.0, "which norm, for norm only", above(0)),
    Key("AMP.ENABLED", False, "train in mixed precision on GPUs"),
    Key("AMP.DTYPE", "float16", "the short type: float16 or bfloat16"),
)
