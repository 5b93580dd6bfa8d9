"""INPUT: dataset mapper, large-scale jitter, colour augmentation, crop."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import PIXELS, above, at_least, length, words

_PIXEL_COUNT = at_least(1, PIXELS)

KEYS = under(
    "INPUT",
    Key("DATASET_MAPPER_NAME", "mask_former_semantic", "how training records become inputs"),
    Key("FORMAT", "BGR", "order of the channels", words("RGB", "BGR")),
    Key("MIN_SIZE_TRAIN", (800,), "shorter sides in training, in pixels", length(1) + _PIXEL_COUNT),
    Key("MIN_SIZE_TRAIN_SAMPLING", "choice", "choice: one of them; range: any between", words("choice", "range")),
    Key("MAX_SIZE_TRAIN", 1333, "longest side in training, in pixels", _PIXEL_COUNT),
    Key("MIN_SIZE_TEST", 800, "shorter side in evaluation, in pixels; 0: as it is", at_least(0, PIXELS)),
    Key("MAX_SIZE_TEST", 1333, "longest side in evaluation, in pixels", _PIXEL_COUNT),
    Key(
        "RANDOM_FLIP",
        "horizontal",
        "flip of the lsj mappers; the others flip horizontally",
        words("horizontal", "vertical", "none"),
    ),
    Key("CROP.ENABLED", False, "crop in training"),
    Key(
        "CROP.TYPE",
        "relative_range",
        "what CROP.SIZE says",
        words("absolute", "absolute_range", "relative", "relative_range"),
    ),
    Key("CROP.SIZE", [0.9, 0.9], "height and width, in pixels or as fractions", length(2, 2) + above(0, PIXELS)),
    Key("CROP.SINGLE_CATEGORY_MAX_AREA", 1.0, "a crop of which one class covers more is drawn again", at_least(0, 1)),
    Key("COLOR_AUG_SSD", False, "jitter of brightness, contrast, saturation and hue"),
    Key("SIZE_DIVISIBILITY", -1, "above 0: inputs are padded or cut to this side, in pixels", at_least(-1, PIXELS)),
    Key("IMAGE_SIZE", 1024, "side of the square of the lsj mappers, in pixels", _PIXEL_COUNT),
    Key("MIN_SCALE", 0.1, "smallest scale of the lsj mappers", above(0, 1000)),
    Key("MAX_SCALE", 2.0, "greatest scale of the lsj mappers", above(0, 1000)),
    Key("MASK_FORMAT", "polygon", "format of instance masks; the file tells it", status="ignored"),
)
