"""MODEL.SWIN: read by the Swin backbone only."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import above, at_least, length

KEYS = under(
    "MODEL.SWIN",
    Key("PRETRAIN_IMG_SIZE", 224, "side in pixels of the pictures of pretraining; counts with APE", at_least(1)),
    Key("PATCH_SIZE", 4, "side of a patch in pixels", at_least(1)),
    Key("EMBED_DIM", 96, "channels of the first stage", at_least(1)),
    Key("DEPTHS", [2, 2, 6, 2], "blocks of each stage", at_least(1) + length(1)),
    Key("NUM_HEADS", [3, 6, 12, 24], "heads of each stage", at_least(1) + length(1)),
    Key("WINDOW_SIZE", 7, "side of an attention window in patches", at_least(1)),
    Key("MLP_RATIO", 4.0, "width of the feed-forward layers over that of the stage", above(0, 1000)),
    Key("QKV_BIAS", True, "queries, keys and values have a bias"),
    Key("QK_SCALE", None, "factor of attention logits; null: width of a head ** -0.5"),
    Key("DROP_RATE", 0.0, "dropout of results", at_least(0, 1)),
    Key("ATTN_DROP_RATE", 0.0, "dropout of attention weights", at_least(0, 1)),
    Key("DROP_PATH_RATE", 0.3, "stochastic depth of the last block; it grows from 0", at_least(0, 1)),
    Key("APE", False, "absolute position embedding"),
    Key("PATCH_NORM", True, "norm after the embedding of patches"),
    Key("OUT_FEATURES", ["res2", "res3", "res4", "res5"], "stages to return, where the encoder does not say"),
    Key("USE_CHECKPOINT", False, "compute activations again for the gradient; less memory"),
)
