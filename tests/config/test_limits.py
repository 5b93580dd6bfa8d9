"""Values that a key cannot have, and values that do not go together."""

from __future__ import annotations

import pytest

from maskclippp.config import TABLE, check_config, default_config, load_config
from maskclippp.config.load import get_value, list_keys
from maskclippp.utils.errors import UserError


def test_every_default_is_allowed():
    cfg = default_config()
    for key in list_keys(cfg):
        TABLE[key].check(get_value(cfg, key))
    check_config(cfg)


def complaint(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        check_config(load_config("", overrides))
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("SOLVER.MAX_ITER", "0", "must be at least 1 and at most 1000000000, got 0"),
        ("SOLVER.MAX_ITER", "-5", "must be at least 1"),
        ("SOLVER.MAX_ITER", "1" + "0" * 12, "at most 1000000000"),
        ("SOLVER.CHECKPOINT_PERIOD", "0", "must be at least 1"),
        ("SOLVER.IMS_PER_BATCH", "0", "must be at least 1"),
        ("SOLVER.BASE_LR", "0", "must be above 0, got 0.0"),
        ("SOLVER.BASE_LR", "-1e-4", "must be above 0"),
        ("SOLVER.WARMUP_ITERS", "-1", "must be at least 0"),
        ("SOLVER.WEIGHT_DECAY", "-0.1", "must be at least 0"),
        ("SOLVER.WEIGHT_DECAY", "1e999", "must be finite"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "0.0", "must be above 0"),
        ("SOLVER.STEPS", "(5, 3)", "must ascend"),
        ("SOLVER.WARMUP_METHOD", "sine", "must be linear or constant, got 'sine'"),
        ("DATALOADER.NUM_WORKERS", "-1", "must be at least 0 and at most 1000"),
        ("TEST.EVAL_PERIOD", "-1", "must be at least 0"),
        ("TEST.SAVE_STATE_SECONDS", "-1", "must be at least 0"),
        ("TEST.AUG.MIN_SIZES", "()", "must have at least 1 value"),
        ("TEST.EXPECTED_RESULTS", "[['sem_seg', 'mIoU', 3]]", r"[0] must be [task, metric, value, tolerance]"),
        ("TEST.EXPECTED_RESULTS", "['sem_seg', 'mIoU', 3, 1]", r"[0] must be"),
        ("TEST.EXPECTED_RESULTS", "[['sem_seg', 'mIoU', 3, 1], [1, 2, 3, 4]]", r"[1] must be"),
        ("TEST.EXPECTED_RESULTS", "[['sem_seg', 'mIoU', '3', 1]]", r"[0] must be"),
        ("INPUT.MIN_SIZE_TRAIN", "[]", "must have at least 1 value"),
        ("INPUT.MIN_SIZE_TRAIN", "[128, 0]", "must be at least 1"),
        ("INPUT.MAX_SIZE_TEST", "-3", "must be at least 1"),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "rang", "must be choice or range"),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "wants two of MIN_SIZE_TRAIN"),
        ("INPUT.MIN_SCALE", "3.0", "is above INPUT.MAX_SCALE"),
        ("INPUT.CROP.SIZE", "[64]", "must have 2 values"),
        ("INPUT.FORMAT", "HSV", "must be RGB or BGR"),
        ("DATASETS.TEST", "(3,)", "must be a list of names"),
        ("MODEL.PIXEL_STD", "[1.0, 0.0, 1.0]", "must be above 0"),
        ("MODEL.PIXEL_MEAN", "[1.0]", "must have 3 values"),
        ("MODEL.MASKCLIPPP.VISUAL_ENCODER.RESIZE_TYPE", "long", "must be none, short, square or rel"),
        ("MODEL.MASKCLIPPP.TEXT_CHUNK_SIZE", "0", "must be at least 1"),
        ("MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD", "1.5", "must be at least 0 and at most 1"),
        ("MODEL.MASK_FORMER.NHEADS", "7", "is no multiple of NHEADS 7"),
    ],
)
def test_values_that_are_refused(key, value, message):
    text = complaint(key, value)
    assert key.rpartition(".")[2] in text and message in text and "\n" not in text


def test_crops():
    crop = ("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE")
    assert "they are whole pixels" in complaint(*crop, "absolute")
    assert "they are fractions" in complaint(*crop, "relative", "INPUT.CROP.SIZE", "[64, 64]")
    check_config(load_config("", [*crop, "absolute", "INPUT.CROP.SIZE", "[64, 64]"]))


def test_all_faults_are_told_at_once_with_their_lines(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("SOLVER:\n  MAX_ITER: 0\n  CHECKPOINT_PERIOD: 0\n")
    with pytest.raises(UserError) as caught:
        load_config(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: 2 problems" and f"{path}:2: SOLVER.MAX_ITER must" in lines[1] and ":3: " in lines[2]
