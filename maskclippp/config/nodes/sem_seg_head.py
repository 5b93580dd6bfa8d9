"""MODEL.SEM_SEG_HEAD: pixel decoder of Mask2Former-type generators, and their classes."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import at_least

KEYS = under(
    "MODEL.SEM_SEG_HEAD",
    Key(
        "NAME",
        "SemSegFPNHead",
        "class of the head in published code",
        status="ignored",
        published=("MaskFormerHead", "FCCLIPHead", "MaskFormerInteractionHead"),
    ),
    Key("IN_FEATURES", ["p2", "p3", "p4", "p5"], "Mask2Former: maps of the backbone to use"),
    Key("IGNORE_VALUE", 255, "label of pixels that do not count, for the crop that looks at labels"),
    Key("NUM_CLASSES", 54, "classes of a generator with a linear classifier; 1 in Mask2Former: object", at_least(1)),
    Key("CONVS_DIM", 128, "channels of the pixel decoder", at_least(1)),
    Key("MASK_DIM", 256, "channels of its finest map, and width of mask embeddings", at_least(1)),
    Key("COMMON_STRIDE", 4, "stride of the finest map", status="ignored"),
    Key("NORM", "GN", "norm of the pixel decoder's convolutions"),
    Key("LOSS_WEIGHT", 1.0, "weight of the loss", status="ignored"),
    Key(
        "DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES",
        ["res3", "res4", "res5"],
        "Mask2Former: those maps, the coarsest, that go through the encoder",
    ),
    Key("DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS", 4, "points of deformable attention; always 4", status="ignored"),
    Key("DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS", 8, "its heads; MODEL.MASK_FORMER.NHEADS counts", status="ignored"),
    Key("TRANSFORMER_ENC_LAYERS", 0, "layers of deformable attention", at_least(0, 1000)),
    Key(
        "PIXEL_DECODER_NAME",
        "BasePixelDecoder",
        "the pixel decoder; MSDeformAttnPixelDecoder is always built",
        status="fixed",
        published=("MSDeformAttnPixelDecoder",),
    ),
)
