"""Keys at the top and WANDB: the run as a whole."""

from __future__ import annotations

from ..keys import Key, under
from ..rules import at_least

KEYS = (
    Key("VERSION", 2, "version of detectron2's config format", status="fixed"),
    Key("OUTPUT_DIR", "./output", "folder of checkpoints, logs and results"),
    Key(
        "SEED",
        -1,
        "seed of all random numbers; below 0: a new one, which is kept beside the run",
        at_least(-(2**63), 2**63 - 1),
    ),
    Key("CUDNN_BENCHMARK", False, "let cuDNN time its algorithms in training"),
    Key("RUN_DEMO", False, "switch of the published demo", status="ignored"),
    *under(
        "WANDB",
        Key(
            "ENABLED", False, "track the run with wandb; WANDB_MODE=offline in the environment keeps it on this machine"
        ),
        Key("PROJECT", "maskclippp", "project that the run belongs to"),
        Key("NAME", None, "name of the run; null: the last two folders of OUTPUT_DIR"),
    ),
)
