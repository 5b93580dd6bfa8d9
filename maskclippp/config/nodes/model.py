"""MODEL: the method, its weights, the backbone of detectron2, and what MAFT+ adds."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import above, at_least, length

KEYS = under(
    "MODEL",
    Key("META_ARCHITECTURE", "GeneralizedRCNN", "the method: MaskCLIPpp, MaskFormer, ...; configs must set it"),
    Key("DEVICE", "cuda", "where the model runs: cuda, cuda:1, cpu"),
    Key("WEIGHTS", "", "checkpoint that training starts from and evaluation tests; empty: none"),
    Key(
        "PIXEL_MEAN",
        [103.53, 116.28, 123.675],
        "mean per channel, 0-255, in the order of INPUT.FORMAT; CLIP encoders have their own",
        length(3, 3),
    ),
    Key("PIXEL_STD", [1.0, 1.0, 1.0], "the same for the standard deviation", length(3, 3) + above(0)),
    Key("BACKBONE.NAME", "build_resnet_backbone", "backbone of Mask2Former and of the encoder D2Backbone"),
    Key("BACKBONE.FREEZE_AT", 2, "parts of the ResNet that do not train, from the stem on", at_least(-1)),
    *under(
        "FPN",
        Key("IN_FEATURES", [], "maps of the backbone that a pyramid takes"),
        Key("OUT_CHANNELS", 256, "channels of each map of a pyramid", at_least(1)),
        Key("NORM", "", "norm of a pyramid; empty: none"),
        Key("FUSE_TYPE", "sum", "how a pyramid joins two maps: sum or avg"),
    ),
    Key("rc_weights", None, "weight of MAFT+'s representation compensation", status="ignored", published=(0.1,)),
    Key(
        "cdt_params",
        [768, 8],
        "width and heads of MAFT+'s content-dependent transfer",
        status="ignored",
        published=([640, 8],),
    ),
    Key("relu", "relu", "activation of MAFT+", status="ignored"),
)
