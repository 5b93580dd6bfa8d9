"""Golden cases as records with label maps on disk."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file


@dataclass
class Case:
    """A golden case: tensors, expected scores, and the records of its images."""

    tensors: dict[str, np.ndarray]
    classes: list[str]
    expected: dict[str, float]
    records: list[dict]

    @property
    def seen(self) -> np.ndarray:
        """(K,) bool."""
        return self.tensors["in.category_overlapping_mask"]

    def outputs(self, key: str, tensor: str) -> list[dict]:
        """One model output per image with ``tensor`` under ``key``."""
        return [
            {
                "category_overlapping_mask": torch.from_numpy(self.seen),
                key: torch.from_numpy(self.tensors[f"in.{tensor}.{index}"].astype(np.int64)),
            }
            for index in range(len(self.records))
        ]


def check_scores(found: dict[str, float], expected: dict[str, float | None]) -> None:
    """Same keys in the same order (but for the harmonic mean, which only we report), values to 1e-9, null is NaN."""
    found = {key: value for key, value in found.items() if key != "hIoU"}
    assert list(found) == list(expected)
    wanted = [np.nan if value is None else value for value in expected.values()]
    np.testing.assert_allclose(list(found.values()), wanted, rtol=0, atol=1e-9)


def split_over_ranks(make, records: list[dict], outputs: list[dict], ranks: int = 2):
    """Return an evaluator with the joined states of ``ranks`` processes that saw the images in turn."""
    joined = make()
    for rank in range(ranks):
        evaluator = make()
        evaluator.process(records[rank::ranks], outputs[rank::ranks])
        joined.add_state(through_file(evaluator.state_dict()))
    return joined


def through_file(state):
    """Return a state as it comes back from a file that only tensors and plain containers may be in."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.fixture
def golden_case(shared_dir, tmp_path):
    """Return a function that loads a golden case by name."""

    def load(name: str) -> Case:
        tensors = load_file(shared_dir / "golden" / f"{name}.safetensors")
        facts = json.loads((shared_dir / "golden" / f"{name}.json").read_text())
        records = []
        for index in range(sum(key.startswith("in.pred") for key in tensors)):
            record = {"file_name": f"{index}.jpg"}
            if f"in.gt.{index}" in tensors:
                record["sem_seg_file_name"] = str(tmp_path / f"{index}.png")
                Image.fromarray(tensors[f"in.gt.{index}"]).save(record["sem_seg_file_name"])
            else:
                classes = tensors[f"in.gt_classes.{index}"].tolist()
                record["segments_info"] = [{"id": i, "category_id": c} for i, c in enumerate(classes)]
            records.append(record)
        return Case(tensors, facts["classes"], facts["expected"], records)

    return load


@pytest.fixture
def label_file(tmp_path) -> Path:
    """A label map of 2x3: classes 0 and 2 of 3, one ignored pixel."""
    path = tmp_path / "labels.png"
    Image.fromarray(np.array([[0, 0, 2], [2, 2, 255]], np.uint8)).save(path)
    return path
