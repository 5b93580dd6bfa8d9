"""TEST: what evaluation does and writes besides scores."""

from __future__ import annotations

import math

from ..keys import Key, under
from ..rules import EXPECTED_RESULTS, PIXELS, at_least, length

KEYS = under(
    "TEST",
    Key("EVAL_PERIOD", 0, "training steps from one evaluation to the next; 0: only at the end", at_least(0)),
    Key("EXPECTED_RESULTS", [], "results that an evaluation must reach", EXPECTED_RESULTS),
    Key("DETECTIONS_PER_IMAGE", 100, "instances to keep of a picture", at_least(1)),
    Key("AUG.ENABLED", False, "evaluate label maps once more with test-time augmentation"),
    Key(
        "AUG.MIN_SIZES",
        (400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
        "its shorter sides in pixels",
        length(1) + at_least(1, PIXELS),
    ),
    Key("AUG.MAX_SIZE", 4000, "its longest side in pixels", at_least(1, PIXELS)),
    Key("AUG.FLIP", True, "each size is flipped as well"),
    Key(
        "SAVE_STATE_SECONDS",
        60.0,
        "an interrupted evaluation goes on from its last saved state; 0: starts over",
        at_least(0, math.inf),
    ),
    Key("PICTURES", 0, "draw the confusion of classes, and so many of the images with the lowest score", at_least(0)),
    Key("SAVE_PREDICTIONS", False, "write label maps and panoptic segments"),
    Key("SIMILARITY_SCORES", False, "Open mIoU, PQ, AP: wrong labels count in part, by text similarity"),
)
