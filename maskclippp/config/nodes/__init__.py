"""The rows of all config keys, one file per node of the config."""

from __future__ import annotations

from ..keys import Key
from . import (
    datasets,
    detectron2_rest,
    fc_clip,
    inputs,
    mask_former,
    maskclippp,
    model,
    resnets,
    run,
    sem_seg_head,
    solver,
    swin,
    test,
)

_OWN = (
    *run.KEYS,
    *model.KEYS,
    *maskclippp.KEYS,
    *mask_former.KEYS,
    *sem_seg_head.KEYS,
    *swin.KEYS,
    *resnets.KEYS,
    *fc_clip.KEYS,
    *inputs.KEYS,
    *datasets.KEYS,
    *solver.KEYS,
    *test.KEYS,
)

TABLE: dict[str, Key] = {key.name: key for key in (*_OWN, *detectron2_rest.keys(own={key.name for key in _OWN}))}
"""Every key by its full name."""
