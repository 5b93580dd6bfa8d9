"""The stand-in world for the engine's tests, in this process and in others."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from maskclippp.utils.logging import LOGGERS

STANDIN = Path(__file__).with_name("standin.py")
CONFIG = """
MODEL: {META_ARCHITECTURE: StandIn}
DATASETS: {TRAIN: standin_train, TEST: standin_val}
INPUT:
  FORMAT: RGB
  MIN_SIZE_TRAIN: [24, 28, 32]
  MIN_SIZE_TEST: 24
  SIZE_DIVISIBILITY: 16
  CROP: {ENABLED: True, TYPE: absolute, SIZE: [16, 16]}
SOLVER:
  MAX_ITER: 40
  IMS_PER_BATCH: 4
  BASE_LR: 0.01
  BASE_LR_END: 1e-5
  LR_SCHEDULER_NAME: WarmupCosineLR
  WARMUP_ITERS: 0
  CHECKPOINT_PERIOD: 5
  CLIP_GRADIENTS: {ENABLED: True, CLIP_TYPE: full_model, CLIP_VALUE: 0.01}
  AMP: {ENABLED: True}
TEST: {EVAL_PERIOD: 15}
DATALOADER: {NUM_WORKERS: 0}
SEED: 3
"""


@pytest.fixture(autouse=True)
def _leave_loggers_as_they_were():
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate


@pytest.fixture(scope="session")
def standin_root(tmp_path_factory) -> Path:
    """Folder of the stand-in dataset."""
    return tmp_path_factory.mktemp("standin_data")


@pytest.fixture
def standin(tmp_path, standin_root, monkeypatch):
    """The stand-in module with ``config`` (file), ``output`` (folder), ``run(*arguments)`` and ``start(*arguments)``.

    ``run`` works in this process and returns the exit status; ``start`` starts another one.
    """
    spec = importlib.util.spec_from_file_location("standin", STANDIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.register(standin_root)
    config = tmp_path / "standin.yaml"
    config.write_text(CONFIG)
    output = tmp_path / "out"

    def command(arguments: tuple[str, ...]) -> list[str]:
        return ["--config-file", str(config), "--num-gpus", "0", *arguments, "OUTPUT_DIR", str(output)]

    def start(*arguments: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(STANDIN), *command(arguments)],
            env={**os.environ, "STANDIN_ROOT": str(standin_root), "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return SimpleNamespace(
        module=module,
        config=config,
        output=output,
        run=lambda *arguments: module.main(command(arguments)),
        start=start,
    )


def load(path: Path) -> dict:
    """Read a checkpoint."""
    return torch.load(path, weights_only=True)


def assert_same(one, two, where: str = "") -> None:
    """Equal bit for bit, through dicts, lists and tensors."""
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_same(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, (first, second) in enumerate(zip(one, two, strict=True)):
            assert_same(first, second, f"{where}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    else:
        assert one == two, where


@pytest.fixture
def checkpoints():
    """``load(path)`` and ``assert_same(one, two)``."""
    return SimpleNamespace(load=load, assert_same=assert_same)
