"""Checkpoints: what is saved, atomic writing, files that fit partly or not at all, files that are not trusted."""

from __future__ import annotations

import logging
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.utils.errors import UserError
from tests.common import BareMethod


class Model(BareMethod):
    checkpoint_prefixes = ("tuned.",)

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.frozen = nn.Linear(2, 2)
        self.tuned = nn.Linear(width, 2)


@pytest.fixture
def saved(tmp_path):
    """A model, its optimizer, and the checkpointer that wrote ``model_a.pth``."""
    model = Model()
    optimizer = torch.optim.AdamW(model.tuned.parameters())
    checkpointer = Checkpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.save("model_a", iteration=4)
    return model, optimizer, checkpointer


def test_only_tuned_parts_are_saved(saved, tmp_path):
    content = torch.load(tmp_path / "model_a.pth", weights_only=True)
    assert set(content) == {"model", "optimizer", "iteration"}
    assert set(content["model"]) == {"tuned.weight", "tuned.bias"}
    assert (tmp_path / "last_checkpoint").read_text() == "model_a.pth"


def test_round_trip_leaves_the_frozen_part_alone(saved, tmp_path):
    other = Model()
    frozen = other.frozen.weight.clone()
    optimizer = torch.optim.AdamW(other.tuned.parameters(), lr=5.0)
    rest = Checkpointer(other, str(tmp_path), optimizer=optimizer).resume_or_load("", resume=True)
    assert rest == {"iteration": 4}
    assert torch.equal(other.tuned.weight, saved[0].tuned.weight) and torch.equal(other.frozen.weight, frozen)
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_interrupted_save_leaves_the_old_one(saved, tmp_path, monkeypatch):
    before = (tmp_path / "model_a.pth").read_bytes()

    def half(data, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    for name in ("model_a", "model_b"):
        with pytest.raises(OSError, match="disk full"):
            saved[2].save(name)
    assert (tmp_path / "model_a.pth").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_a.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_a.pth"


def test_partial_fit_is_a_table(tmp_path, caplog):
    weights = {"tuned.bias": torch.ones(2), "tuned.weight": torch.ones(2, 9), "extra": torch.ones(1)}
    torch.save(weights, tmp_path / "a.pth")
    model = Model()
    with caplog.at_level(logging.WARNING):
        Checkpointer(model).load(str(tmp_path / "a.pth"), checkpointables=[])
    assert torch.equal(model.tuned.bias, torch.ones(2))
    table = caplog.records[-1].getMessage().splitlines()
    assert table[0] == f"{tmp_path}/a.pth: fits the model only partly"
    assert [line.split() for line in table[1:]] == [
        ["matched", "1"],
        ["missing", "0"],
        ["unexpected", "1", "extra"],
        ["mismatched", "1", *"tuned.weight: (2, 9) in the file, (2, 3) in the model".split()],
    ]


def test_weights_of_another_size_are_not_evaluated(tmp_path):
    torch.save({"tuned.bias": torch.ones(2), "tuned.weight": torch.ones(2, 9)}, tmp_path / "a.pth")
    message = r"another size, tuned.weight: \(2, 9\) in the file, \(2, 3\) in the model; evaluate it with the config"
    with pytest.raises(UserError, match=message):
        Checkpointer(Model(), for_evaluation=True).load(str(tmp_path / "a.pth"), checkpointables=[])
    torch.save({"tuned.bias": torch.ones(2), "extra": torch.ones(1)}, tmp_path / "b.pth")
    Checkpointer(Model(), for_evaluation=True).load(str(tmp_path / "b.pth"), checkpointables=[])


def test_missing_counts_only_what_a_checkpoint_holds(tmp_path, caplog):
    torch.save({"tuned.bias": torch.ones(2)}, tmp_path / "a.pth")
    with caplog.at_level(logging.WARNING):
        Checkpointer(Model()).load(str(tmp_path / "a.pth"), checkpointables=[])
    assert "missing        1  tuned.weight\n" in caplog.text


def test_a_continuation_must_fit(saved, tmp_path):
    other = Model(width=4)
    checkpointer = Checkpointer(other, str(tmp_path), optimizer=torch.optim.AdamW(other.tuned.parameters()))
    with pytest.raises(UserError, match="fits the model only partly"):
        checkpointer.resume_or_load("", resume=True)
    whole = Model()
    checkpointer = Checkpointer(whole, str(tmp_path), optimizer=torch.optim.AdamW(whole.parameters()))
    with pytest.raises(UserError, match="its 'optimizer' does not fit this config"):
        checkpointer.resume_or_load("", resume=True)
    checkpointer = Checkpointer(whole, str(tmp_path), scheduler=torch.optim.AdamW(whole.parameters()))
    with pytest.raises(UserError, match="has no 'scheduler' and cannot be continued"):
        checkpointer.resume_or_load("", resume=True)


def test_a_run_on_the_cpu_may_go_on_with_a_loss_scaler(tmp_path):
    model = Model()
    Checkpointer(model, str(tmp_path), scaler=torch.amp.GradScaler("cpu", enabled=False)).save("a", iteration=1)
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    Checkpointer(model, str(tmp_path), scaler=scaler).resume_or_load("", resume=True)
    assert scaler.get_scale() == 65536.0


@pytest.mark.parametrize("form", ["model", "state_dict", "plain", "module", "safetensors", "pt"])
def test_formats(tmp_path, form):
    weights = {key: torch.full_like(value, 7.0) for key, value in Model().state_dict().items()}
    path = tmp_path / f"a.{form if form in ('safetensors', 'pt') else 'pth'}"
    if form == "safetensors":
        save_file(weights, path)
    elif form == "module":
        torch.save({"model": {f"module.{key}": value for key, value in weights.items()}}, path)
    else:
        torch.save({form: weights, "epoch": 3} if form in ("model", "state_dict") else weights, path)
    model = Model()
    Checkpointer(model).load(str(path), checkpointables=[])
    assert all((value == 7.0).all() for value in model.state_dict().values())


class Evil:
    def __reduce__(self):
        return (open, ("evil_was_here", "w"))


def message(path) -> str:
    with pytest.raises(UserError) as caught:
        Checkpointer(Model()).load(str(path), checkpointables=[])
    return str(caught.value)


def test_files_that_are_refused(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"tuned.bias": Evil()}}, tmp_path / "evil.pth")
    assert "refused, it is damaged or holds Python objects" in message(tmp_path / "evil.pth")
    (tmp_path / "evil2.pth").write_bytes(pickle.dumps(Evil(), protocol=2))
    assert "refused, it is damaged or holds Python objects" in message(tmp_path / "evil2.pth")
    assert not (tmp_path / "evil_was_here").exists()
    whole = (tmp_path / "model_a.pth").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "short.pth").write_bytes(whole[:size])
        text = message(tmp_path / "short.pth")
        assert "perhaps truncated" in text and "\n" not in text
    save_file({"a": torch.ones(4)}, tmp_path / "a.safetensors")
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-3])
    assert "perhaps truncated" in message(tmp_path / "short.safetensors")
    assert "nothing in it fits the model" in message(tmp_path / "a.safetensors")
    (tmp_path / "a.txt").write_text("x")
    assert "checkpoints are .pth, .pt, .bin" in message(tmp_path / "a.txt")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds a list" in message(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    assert "no weights by name in it: 'epoch' is a int, not a tensor" in message(tmp_path / "none.pth")
    assert "there is no checkpoint" in message(tmp_path / "model_b.pth")
    assert "has model_a.pth" in message(tmp_path / "model_b.pth")
