"""MODEL.RESNETS: read by detectron2's ResNet; and what published files inherit from DeepLab."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import at_least

KEYS = under(
    "MODEL.RESNETS",
    Key("DEPTH", 50, "layers: 18, 34, 50, 101 or 152", at_least(1)),
    Key("OUT_FEATURES", ["res4"], "stages to return"),
    Key("NUM_GROUPS", 1, "groups of the 3x3 convolutions", at_least(1)),
    Key("NORM", "FrozenBN", "norm of the convolutions"),
    Key("WIDTH_PER_GROUP", 64, "channels of a group in the first stage", at_least(1)),
    Key("STRIDE_IN_1X1", True, "the stride is in the first 1x1 convolution of a block, not in the 3x3 one"),
    Key("RES5_DILATION", 1, "dilation of the last stage", at_least(1)),
    Key("RES2_OUT_CHANNELS", 256, "channels of the first stage", at_least(1)),
    Key("STEM_OUT_CHANNELS", 64, "channels of the stem", at_least(1)),
    Key("DEFORM_ON_PER_STAGE", [False, False, False, False], "deformable convolutions, by stage"),
    Key("DEFORM_MODULATED", False, "these are modulated"),
    Key("DEFORM_NUM_GROUPS", 1, "groups of these", at_least(1)),
    Key("STEM_TYPE", "basic", "stem of DeepLab's ResNet", status="ignored", published=("deeplab",)),
    Key("RES5_MULTI_GRID", [1, 2, 4], "dilations of DeepLab's last stage", status="ignored", published=([1, 1, 1],)),
)
