"""MODEL.MASKCLIPPP: the parts of the MaskCLIPpp meta-architecture."""

from __future__ import annotations

import math

from ..keys import Key, under
from ..rules import PIXELS, above, at_least, length, words

CLIP_PIXEL_MEAN = [122.7709383, 116.7460125, 104.09373615]
CLIP_PIXEL_STD = [68.5005327, 66.6321579, 70.32316305]

_RESIZE = words("none", "short", "square", "rel")


def _image_keys(prefix: str, when: str) -> tuple[Key, ...]:
    return (
        Key(
            f"{prefix}RESIZE_TYPE",
            "none",
            f"{when}: short: the shorter side is {prefix}IMAGE_SIZE; square: both; rel: {prefix}IMAGE_SCALE",
            _RESIZE,
        ),
        Key(f"{prefix}IMAGE_SIZE", 640, f"{when}: side in pixels", at_least(1, PIXELS)),
        Key(f"{prefix}IMAGE_SCALE", 1.0, f"{when}: factor of both sides", above(0, 1000)),
    )


def _visual_encoder(feature_suffix: str) -> tuple[Key, ...]:
    return (
        Key("NAME", "none", "the encoder; none: there is none"),
        Key("MODEL_NAME", "", "which CLIP, by open_clip's name or the published one of EVA"),
        Key("PRETRAINED", "", "its weights: open_clip's tag or a file; empty: random"),
        Key("LOAD_FROM", "", "checkpoint of another method to take the weights from instead"),
        Key("LOAD_BEG_KEY", "", "what precedes the names of the weights in LOAD_FROM"),
        Key("OUT_FEATURES", [], "features to return, with suffix; m_embs: mask embeddings"),
        Key("FEATURE_SUFFIX", feature_suffix, "what ends the names of features"),
        Key("FINETUNE_TYPE", "none", "which parameters train: none, all, attention, ... (by the encoder)"),
        Key("GRAD_CHECKPOINTING", False, "compute activations again for the gradient; less memory"),
        Key("COMPILE", False, "run the encoder through torch.compile"),
        Key("PIXEL_MEAN", CLIP_PIXEL_MEAN, "mean per channel (RGB), 0-255", length(3, 3)),
        Key("PIXEL_STD", CLIP_PIXEL_STD, "standard deviation per channel (RGB), 0-255", length(3, 3) + above(0)),
        Key("SIZE_DIVISIBILITY", 0, "pictures are padded to a multiple of it, in pixels; 0: not", at_least(-1, PIXELS)),
        *_image_keys("", "training"),
        *_image_keys("TEST_", "evaluation, and always if nothing trains"),
        Key("MASK_POLICY", "SoftBias", "how masks guide the attention of a transformer or of attention pooling"),
        Key("MASK_PRIOR_BEG", 0, "first block that masks guide", at_least(0)),
        Key("DOWNSAMPLE_METHOD", "bilinear", "how masks come to the grid of patches"),
        Key("DOWN_MASK_THRESH", 0.0, "patches above it are inside a mask; null: half its maximum", nullable=True),
        Key("MASK_SCALE", 1.0, "factor of masks", status="ignored"),
        Key("MASK_BIAS", 0.0, "shift of masks", status="ignored"),
        Key("MASK_LOGIT_SCALE", 0.0, "logarithm of the bias of the attention inside a mask, at the start"),
        Key("LEARNABLE_MASK_LOGIT_SCALE", False, "that logarithm trains, by layer and head"),
    )


_TEXT_ENCODER = (
    Key("NAME", "none", "the encoder; none: there is none"),
    Key("MODEL_NAME", "", "which CLIP, by open_clip's name or the published one of EVA"),
    Key("PRETRAINED", "", "its weights: open_clip's tag or a file; empty: random"),
    Key("LOAD_FROM", "", "checkpoint of another method to take the weights from instead"),
    Key("LOAD_BEG_KEY", "", "what precedes the names of the weights in LOAD_FROM"),
    Key("FINETUNE_TYPE", "none", "which parameters train: none, all, attention, ..."),
    Key("GRAD_CHECKPOINTING", False, "compute activations again for the gradient; less memory"),
    Key("SKIP_LN_FINAL", False, "leave out the last norm", status="ignored"),
)

_SEGMENTOR = (
    Key("NAME", "FCCLIPSegmentor", "the mask generator; none: there is none, for training only"),
    Key("PRETRAINED", "", "its weights: a file, or a folder of the transformers library; empty: random"),
    Key("IN_FEATURES", ["stage1_f", "stage2_f", "stage3_f", "stage4_f"], "features of VISUAL_ENCODER_F that it takes"),
    Key("TRANSFORMER_IN_FEATURES", ["stage2_f", "stage3_f", "stage4_f"], "those, the coarsest, that are encoded"),
    Key("OFFLINE_ANN_DIR", "", "OfflineSegmentor: folder of mask files, or one JSON file of all"),
    Key("OFFLINE_ANN_SUFFIX", "", "OfflineSegmentor: what ends the names of mask files"),
)

_PSM = (
    Key("NAME", "CorrelationDecoderV1", "the similarity head; the published default names none: set it"),
    Key("INIT", "published", "start of the maps along the templates: published (random) or template_mean"),
    Key("CORR_WIDTH", 640, "units between the two maps along the templates", at_least(1)),
    Key("NUM_HEADS", 8, "PseudoTextPSM: heads of the attention", at_least(1)),
    Key("IN_FEATURES", [], "PseudoTextPSM: the dense features, one name"),
    Key("DETACH_VISUAL_COND", False, "PseudoTextPSM: no gradient reaches the dense features"),
    Key("NORM_VISUAL_COND", False, "PseudoTextPSM: dense features get unit length"),
    Key("CORR_RESIDUAL", False, "PseudoTextPSM: the maps along the templates are added"),
    Key("USE_LOGIT_SCALE", False, "PseudoTextPSM: multiply by a logit scale of its own"),
    Key("ATTENTION_PROBS_DROPOUT_PROB", 0.0, "PseudoTextPSM: dropout of attention weights", at_least(0, 1)),
    Key("HIDDEN_DROPOUT_PROB", 0.0, "PseudoTextPSM: dropout of the attention's result", at_least(0, 1)),
)

_CRITERION = (
    Key("NAME", "ReweightCELoss", "the training loss"),
    Key("TEMPERATURE", 1.0, "logits are divided by it", above(0, math.inf)),
    Key("BALANCE_CLS", False, "the classes of a picture weigh the same, however many masks they have"),
    Key("IGNORE_NAN", False, "a loss that is not a number becomes 0, with a warning"),
    Key("IGNORE_EMPTY", False, "masks without a patch are left out before weighting"),
    Key("IGNORE_INDEX", -100, "masks with this label have no loss"),
)

_TEST = (
    Key("ENSEMBLE_ON", False, "geometric mean with the classes of the mask generator"),
    Key("GEOMETRIC_ENSEMBLE_ALPHA", 1.0, "weight of the tuned CLIP for classes seen in training", at_least(0, 1)),
    Key("GEOMETRIC_ENSEMBLE_BETA", 1.0, "weight of the tuned CLIP for other classes", at_least(0, 1)),
    Key("ENSEMBLE_ON_VALID_MASK", 0.0, "area from which masks take part in the ensemble", status="ignored"),
    Key("UNCOVERED", "auto", "pixels under no mask: void, argmax as published, or auto: by the generator"),
    Key("SEGMENTOR_ONLY", False, "evaluate the generated masks alone, with the classes of the ground truth"),
    Key("MASK_ACC", False, "evaluate the classes of ground-truth masks"),
)

KEYS = under(
    "MODEL.MASKCLIPPP",
    *under("VISUAL_ENCODER", *_visual_encoder("")),
    *under("VISUAL_ENCODER_F", *_visual_encoder("_f")),
    *under("TEXT_ENCODER", *_TEXT_ENCODER),
    *under("TEXT_ENCODER_F", *_TEXT_ENCODER),
    *under("SEGMENTOR", *_SEGMENTOR),
    *under("PSM", *_PSM),
    *under("CRITERION", *_CRITERION),
    *under("TEST", *_TEST),
    Key("USE_LOGIT_SCALE", False, "multiply similarities by CLIP's logit scale"),
    Key("TEMPLATES", "t14", "sentences around a class name, by the name of their list"),
    Key("TEMPLATES_F", "t14", "the same for TEXT_ENCODER_F"),
    Key("TEXT_CHUNK_SIZE", 512, "sentences that go through the text encoder at once", at_least(1)),
)
