"""Weight files of all kinds: read as tensors, never run; parts of larger ones; what a foreign one looks like."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from maskclippp.utils.checkpoint_io import load_part, read_checkpoint
from maskclippp.utils.errors import UserError
from maskclippp.utils.model_signatures import looks_like

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class RunsCode:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def write(path: Path, content) -> Path:
    with open(path, "wb") as file:
        pickle.dump(content, file, protocol=2)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".pkl", "-numpy.pkl"])
def test_every_kind_of_file_gives_the_same_tensors(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(WEIGHTS, path)
    elif suffix.endswith("pkl"):
        arrays = {key: value.numpy() for key, value in WEIGHTS.items()} if "numpy" in suffix else WEIGHTS
        write(path, {"model": arrays, "__author__": "someone"})
    else:
        torch.save({"model": WEIGHTS}, path)
    read = read_checkpoint(path)["model"]
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[key], value) for key, value in WEIGHTS.items())


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    target = tmp_path / "was_run"
    path = write(tmp_path / "evil.pkl", {"model": {"a": RunsCode(target)}})
    with pytest.raises(UserError, match="refused"):
        read_checkpoint(path)
    torch.save({"model": {"a": RunsCode(target)}}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="refused"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not target.exists()


def test_a_pickle_of_numpy_objects_is_refused(tmp_path):
    path = write(tmp_path / "objects.pkl", {"model": {"a": np.array([RunsCode(tmp_path / "x")], dtype=object)}})
    with pytest.raises(UserError):
        read_checkpoint(path)


def test_a_part_of_a_larger_checkpoint(tmp_path):
    path = tmp_path / "large.pth"
    torch.save(
        {"model": {f"backbone.clip.{key}": value for key, value in WEIGHTS.items()} | {"x": torch.ones(1)}}, path
    )
    module = nn.ModuleDict({"a": nn.Linear(3, 2)})
    load_part(module, path, "backbone.clip.")
    assert torch.equal(module["a"].weight, WEIGHTS["a.weight"])
    with pytest.raises(UserError, match=r"part 'backbone\.' does not fit(.|\n)*missing +2"):
        load_part(module, path, "backbone.")


def test_what_a_checkpoint_looks_like():
    assert looks_like({"visual_encoder.proxy.pos_embed": torch.empty(1, 577, 1024)}) == "MaskCLIP++ with EVA02-L-14-336"
    assert "FC-CLIP" in looks_like({"void_embedding.weight": torch.empty(1, 640)})
    assert "PRETRAINED" in looks_like({"visual.conv1.weight": torch.empty(8, 3, 16, 16)})
    assert looks_like({"something": torch.empty(1)}) is None
