"""Which generator a config gets."""

from __future__ import annotations

import pytest

from maskclippp.config import default_config
from maskclippp.mask_generators import GeneratorInput, build_mask_generator
from maskclippp.utils.errors import UserError


def config(name: str):
    cfg = default_config()
    cfg.MODEL.MASKCLIPPP.SEGMENTOR.NAME = name
    return cfg


def test_a_config_for_training_only_says_in_inference_what_is_missing():
    generator = build_mask_generator(config("FCCLIPSegmentor"))
    with pytest.raises(UserError, match="FCCLIPSegmentor needs a VISUAL_ENCODER_F"):
        generator(GeneratorInput(records=[], sizes=[]))


def test_none_and_unknown():
    with pytest.raises(UserError, match="no mask generator: SEGMENTOR.NAME is none; evaluate with a config"):
        build_mask_generator(config("none"))(GeneratorInput(records=[], sizes=[]))
    with pytest.raises(UserError, match="did you mean GTSegmentor"):
        build_mask_generator(config("GtSegmenter"))
