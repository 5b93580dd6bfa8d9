"""Checkpoints of all suffixes: read, loaded into a part, continued from."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from maskclippp.engine.checkpoint import Checkpointer
from maskclippp.methods import Method
from maskclippp.utils.checkpoint_io import load_part, read_checkpoint
from maskclippp.utils.open_clip_models import create_clip
from maskclippp.utils.paths import ASSETS

from .case import Case, Surroundings
from .mutations import damage_bytes, damage_tree, json_text

_SUFFIXES = (".pth", ".pth", ".pt", ".bin", ".pkl", ".pkl", ".safetensors", ".safetensors")
_TOY = ASSETS / "toy_clip" / "open_clip_model.safetensors"


class _Model(nn.Linear):
    """What a method is to the checkpointer."""

    checkpoint_prefixes = ("",)
    adapt_checkpoint = Method.adapt_checkpoint


class _RunsCode:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def checkpoint_case(around: Surroundings) -> Case:
    """A damaged file of weights, read as a whole and as a part of a model."""
    path = _write(around, around.folder / f"w{around.rng.choice(_SUFFIXES)}")

    def read() -> None:
        read_checkpoint(path)
        load_part(_model(), path)

    return Case(read, (path.name,))


def resume_case(around: Surroundings) -> Case:
    """A damaged checkpoint of a run, continued from as training does."""
    path = _write(around, around.folder / "w.pth")

    def resume() -> None:
        model = _model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
        (around.folder / "last_checkpoint").write_text(path.name)
        checkpointer = Checkpointer(model, str(around.folder), optimizer=optimizer, scheduler=scheduler)
        checkpointer.resume_or_load("", resume=True)
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()

    return Case(resume, (path.name,))


def clip_case(around: Surroundings) -> Case:
    """Damaged weights of an open_clip model."""
    path = around.folder / f"w{around.rng.choice(('.safetensors', '.pt'))}"
    if path.suffix == ".pt" or around.rng.random() < 0.3:
        _write(around, path)
    else:
        content = _TOY.read_bytes()
        begin = content[:4000] if around.rng.random() < 0.1 else damage_bytes(around.rng, content[:4000])
        path.write_bytes(begin + content[4000:])
    return Case(lambda: create_clip("toy-clip", str(path)), (path.name,))


def _model() -> _Model:
    return _Model(3, 2)


def _write(around: Surroundings, path: Path) -> Path:
    rng, kind = around.rng, around.rng.random()
    tree = _good()
    if 0.2 < kind < 0.8:
        tree = damage_tree(rng, tree)
    if kind > 0.5:
        _insert_strange(rng, tree, around.canary)
    content = _encode(rng, tree, path.suffix)
    if kind < 0.35:
        content = _damage_inside(rng, content) if rng.random() < 0.5 else damage_bytes(rng, content)
    path.write_bytes(content)
    return path


def _good() -> dict[str, Any]:
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "iteration": 5,
    }


def _insert_strange(rng: random.Random, tree: Any, canary: Path) -> None:
    """Put something that is no plain tensor where tensors are, or a key that is no name."""
    node = tree.get("model", tree) if isinstance(tree, dict) else tree
    if not isinstance(node, dict) or not node:
        return
    key = rng.choice(list(node))
    makers = (
        lambda: torch.zeros(1).expand(10**6, 10**6),
        lambda: torch.zeros(4).as_strided((2, 2), (1, 0)),
        lambda: torch.zeros(3, 2).t(),
        lambda: torch.zeros(0, 10**9),
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.empty(10**6, 10**6, device="meta"),
        lambda: torch.zeros(2, 3, dtype=torch.complex64),
        lambda: torch.quantize_per_tensor(torch.zeros(2, 3), 0.1, 0, torch.qint8),
        lambda: torch.full((2, 3), float("nan")),
        lambda: torch.zeros(2, 3, dtype=torch.float64, requires_grad=True),
        lambda: nn.Parameter(torch.zeros(2, 3)),
        lambda: np.array([[1, None], ["a", {}]], dtype=object),
        lambda: np.array(["a", "b"]),
        lambda: np.zeros((2, 3), dtype=">f8"),
        lambda: np.zeros((2, 3), dtype="M8[s]"),
        lambda: np.float64(3),
        lambda: [[1.0, 2.0], [3.0]],
        lambda: torch.device("cpu"),
        lambda: _RunsCode(canary),
        lambda: node,
    )
    if rng.random() < 0.75:
        node[key] = rng.choice(makers)()
    else:
        node[rng.choice((0, 1.5, None, (1, 2), b"weight", "a\nb", "k" * 5000, "\ud800", ""))] = node.pop(key)


def _encode(rng: random.Random, tree: Any, suffix: str) -> bytes:
    if suffix == ".safetensors":
        return _safetensors(rng)
    buffer = io.BytesIO()
    try:
        if suffix == ".pkl":
            pickle.dump(_arrays(tree), buffer, protocol=rng.choice((2, 4)))
        else:
            torch.save(tree, buffer, _use_new_zipfile_serialization=rng.random() < 0.8)
    # Some things cannot be written; what came of them is damaged as well.
    except Exception:
        pass
    return buffer.getvalue()


def _arrays(tree: Any) -> Any:
    """Tensors of the weights as NumPy arrays, as detectron2 has them."""
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        return tree
    plain = {
        key: value.detach().numpy()
        if isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() < 100
        else value
        for key, value in tree["model"].items()
    }
    return {**tree, "model": plain}


def _safetensors(rng: random.Random) -> bytes:
    """A file with a damaged header, its length right or wrong."""
    content = save(_good()["model"])
    length = struct.unpack("<Q", content[:8])[0]
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    header = damage_tree(rng, header) if rng.random() < 0.8 else header
    if isinstance(header, dict) and rng.random() < 0.2:
        header["x"] = {
            "dtype": rng.choice(("F8_E4M3", "F4", "I128", "BOOL")),
            "shape": [2**40, 0],
            "data_offsets": [0, 0],
        }
    text = json_text(header).encode("utf-8", "replace")
    told = len(text) if rng.random() < 0.8 else rng.choice((0, 1, len(text) + 1, 2**40, 2**64 - 1))
    return struct.pack("<Q", told) + text + body


def _damage_inside(rng: random.Random, content: bytes) -> bytes:
    """Damage an entry of an archive and pack it again, so that its check sums fit; or claim more than there is."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return damage_bytes(rng, content)
    name = rng.choice([each for each in entries if each.endswith("data.pkl")] or list(entries))
    if rng.random() < 0.3:
        name = rng.choice(list(entries))
    entries[name] = damage_bytes(rng, entries[name])
    bomb = rng.choice(list(entries)) if rng.random() < 0.1 else ""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compresslevel=1) as archive:
        for each, data in entries.items():
            if each != bomb:
                archive.writestr(each, data)
                continue
            entry = zipfile.ZipInfo(each)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                for _ in range(300):
                    file.write(bytes(1 << 20))
    return buffer.getvalue()
