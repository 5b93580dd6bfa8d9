"""Values that are right by themselves and do not go together."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.config import CfgNode


def complaints_together(cfg: CfgNode) -> list[str]:
    """Return what is wrong with values that are right by themselves."""
    inputs, decoder = cfg.INPUT, cfg.MODEL.MASK_FORMER
    crop, steps = inputs.CROP, list(cfg.SOLVER.STEPS)
    rules: tuple[tuple[bool, Callable[[], str]], ...] = (
        (
            inputs.MIN_SCALE <= inputs.MAX_SCALE,
            lambda: f"INPUT.MIN_SCALE {inputs.MIN_SCALE} is above INPUT.MAX_SCALE {inputs.MAX_SCALE}",
        ),
        (
            inputs.MIN_SIZE_TRAIN_SAMPLING != "range" or len(inputs.MIN_SIZE_TRAIN) == 2,
            lambda: f"INPUT.MIN_SIZE_TRAIN_SAMPLING range wants two of MIN_SIZE_TRAIN, got {inputs.MIN_SIZE_TRAIN}",
        ),
        (
            not crop.ENABLED or not crop.TYPE.startswith("relative") or max(crop.SIZE) <= 1,
            lambda: f"INPUT.CROP.SIZE {crop.SIZE}: with TYPE {crop.TYPE} they are fractions up to 1",
        ),
        (
            not crop.ENABLED
            or not crop.TYPE.startswith("absolute")
            or all(isinstance(side, int) and side >= 1 for side in crop.SIZE),
            lambda: f"INPUT.CROP.SIZE {crop.SIZE}: with TYPE {crop.TYPE} they are whole pixels",
        ),
        (
            decoder.HIDDEN_DIM % decoder.NHEADS == 0,
            lambda: f"MODEL.MASK_FORMER.HIDDEN_DIM {decoder.HIDDEN_DIM} is no multiple of NHEADS {decoder.NHEADS}",
        ),
        (steps == sorted(steps), lambda: f"SOLVER.STEPS {steps} must ascend"),
    )
    return [tell() for fits, tell in rules if not fits]
