"""Masks that were written are read again, also by parts and by several processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from maskclippp.evaluation.mask_writer import MaskWriter
from maskclippp.mask_generators import GeneratorInput
from maskclippp.mask_generators.offline import OfflineSegmentor
from maskclippp.utils.errors import UserError

MASKS = {
    "data/b/image.png": torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(0)) > 0.5,
    "data/a/image.png": torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(1)) > 0.5,
    "data/empty.png": torch.zeros(0, 7, 3, dtype=torch.bool),
    "data/none.jpg": torch.zeros(1, 7, 3, dtype=torch.bool),
}


def record(name: str) -> dict:
    """As loaders make it."""
    _, height, width = MASKS[name].shape
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    return {"file_name": name, "height": height, "width": width, "image": image}


def show(writer: MaskWriter, *names: str) -> MaskWriter:
    """Let it take some images."""
    writer.process([record(name) for name in names], [{"pred_masks": MASKS[name]} for name in names])
    return writer


def test_round_trip(tmp_path: Path) -> None:
    """Through the generator that reads files."""
    found = show(MaskWriter(tmp_path / "masks/all.json"), *MASKS).evaluate()
    assert found == {"masks": {"images": 4.0, "masks": 6.0}}
    generator = OfflineSegmentor(source=str(tmp_path / "masks/all.json"))
    for name, masks in MASKS.items():
        (read,) = generator(GeneratorInput(records=[record(name)], sizes=[masks.shape[1:]])).masks
        assert torch.equal(read.dense().bool(), masks)
    with pytest.raises(UserError, match=r"other\.jpg: no masks in .*all\.json"):
        generator(GeneratorInput(records=[record("data/none.jpg") | {"file_name": "other.jpg"}], sizes=[(7, 3)]))


def test_parts_add_up(tmp_path: Path) -> None:
    """In any order, and after a save and a restore."""
    show(MaskWriter(tmp_path / "all.json"), *MASKS).score()
    first = show(MaskWriter(tmp_path / "parts.json"), *list(MASKS)[2:])
    torch.save(show(MaskWriter(tmp_path / "x.json"), *list(MASKS)[:2]).state_dict(), tmp_path / "state.pth")
    first.add_state(torch.load(tmp_path / "state.pth", weights_only=True))
    first.score()
    assert (tmp_path / "parts.json").read_text() == (tmp_path / "all.json").read_text()
    assert [image["id"] for image in json.loads((tmp_path / "all.json").read_text())["images"]] == sorted(MASKS)
