"""MODEL.MASK_FORMER: queries and decoder of Mask2Former-type generators, and the test tasks of all methods."""

from __future__ import annotations

import math

from ..keys import Key, under
from ..rules import PIXELS, at_least

_WEIGHT = at_least(0, math.inf)

_TEST = (
    Key("SEMANTIC_ON", True, "predict label maps"),
    Key("INSTANCE_ON", False, "predict instances"),
    Key("PANOPTIC_ON", False, "predict panoptic segments"),
    Key("OBJECT_MASK_THRESHOLD", 0.0, "panoptic: masks with a lower class score are left out", at_least(0, 1)),
    Key("OVERLAP_THRESHOLD", 0.0, "panoptic: a mask of which others hide more is left out", at_least(0, 1)),
    Key(
        "SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE",
        False,
        "resize before classes are mixed; both orders give the same",
        status="ignored",
        published=(True,),
    ),
    Key("INSTANCE_BOX_ON", False, "instances get boxes"),
)

KEYS = under(
    "MODEL.MASK_FORMER",
    Key("DEEP_SUPERVISION", True, "every prediction of the decoder is trained, not only the last"),
    Key("NO_OBJECT_WEIGHT", 0.1, "weight of the class of no object", _WEIGHT),
    Key("CLASS_WEIGHT", 1.0, "weight of the classification, in the loss and in matching", _WEIGHT),
    Key("DICE_WEIGHT", 1.0, "weight of the dice term", _WEIGHT),
    Key("MASK_WEIGHT", 20.0, "weight of the binary cross-entropy of masks", _WEIGHT),
    Key("NHEADS", 8, "heads of all attentions", at_least(1)),
    Key("DROPOUT", 0.1, "dropout of the pixel decoder's encoder; the mask decoder has none", at_least(0, 1)),
    Key("DIM_FEEDFORWARD", 2048, "width of the mask decoder's feed-forward layers", at_least(1)),
    Key("ENC_LAYERS", 0, "layers of an encoder before the mask decoder", status="ignored"),
    Key("DEC_LAYERS", 6, "predictions of the mask decoder: one more than it has layers", at_least(0, 1000)),
    Key("PRE_NORM", False, "norms before instead of after residuals", status="fixed"),
    Key("HIDDEN_DIM", 256, "width of queries", at_least(1)),
    Key("NUM_OBJECT_QUERIES", 100, "masks that are found in a picture", at_least(1)),
    Key(
        "TRANSFORMER_IN_FEATURE",
        "res5",
        "map that the mask decoder of MaskFormer reads",
        status="ignored",
        published=("multi_scale_pixel_decoder",),
    ),
    Key("ENFORCE_INPUT_PROJ", False, "project maps to HIDDEN_DIM also where they have that width"),
    Key(
        "SIZE_DIVISIBILITY",
        32,
        "Mask2Former: pictures are padded to a multiple; below 0: backbone's",
        at_least(-1, PIXELS),
    ),
    Key("TRANSFORMER_DECODER_NAME", "MultiScaleMaskedTransformerDecoder", "the mask decoder", status="fixed"),
    Key("TRAIN_NUM_POINTS", 112 * 112, "points at which masks are compared in training", at_least(1)),
    Key("OVERSAMPLE_RATIO", 3.0, "candidates for each of these points", at_least(1, 1000)),
    Key("IMPORTANCE_SAMPLE_RATIO", 0.75, "part of the points that are chosen for uncertainty", at_least(0, 1)),
    *under("TEST", *_TEST),
)
