"""MODEL.FC_CLIP: keys of FC-CLIP's and MAFT+'s own files; MODEL.MASKCLIPPP counts instead."""

from __future__ import annotations

from ..keys import Key, under

KEYS = under(
    "MODEL.FC_CLIP",
    Key(
        "CLIP_MODEL_NAME",
        "convnext_large_d_320",
        "which CLIP",
        published=("convnext_base_w_320", "RN50", "RN101", "RN50x4", "RN50x16", "RN50x64"),
    ),
    Key(
        "CLIP_PRETRAINED_WEIGHTS",
        "laion2b_s29b_b131k_ft_soup",
        "its weights",
        published=("laion_aesthetic_s13b_b82k_augreg", "openai"),
    ),
    Key("EMBED_DIM", 768, "width of its embeddings", published=(512, 640, 1024)),
    Key("GEOMETRIC_ENSEMBLE_ALPHA", 0.4, "weight of CLIP for classes seen in training", published=(-1.0,)),
    Key("GEOMETRIC_ENSEMBLE_BETA", 0.8, "weight of CLIP for other classes", published=(-1.0,)),
    Key("ENSEMBLE_ON_VALID_MASK", False, "only masks that are not empty take part", published=(True,)),
    status="ignored",
)
