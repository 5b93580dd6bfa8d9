"""Training on a GPU in lower precision."""

from __future__ import annotations

import json
import math

import pytest
import torch


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_lower_precision(standin, checkpoints, precision):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    options = ("--tag", precision, "--num-gpus", "1", "SOLVER.AMP.DTYPE", precision)
    assert standin.run(*options, "SOLVER.MAX_ITER", "10") == 0
    folder = standin.output / "standin" / precision
    assert bool(checkpoints.load(folder / "model_final.pth")["grad_scaler"]) == (precision == "float16")
    losses = [json.loads(line).get("total_loss", 0.0) for line in (folder / "metrics.json").read_text().splitlines()]
    assert all(math.isfinite(loss) for loss in losses)
