"""A missing detectron2 is reported with the way to install it; the package itself stays importable."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An environment without detectron2, as the import system sees it.
WITHOUT = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "detectron2" else found(name, package)
sys.modules["detectron2"] = None
"""


def _run(statement: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", f"{WITHOUT}\n{statement}"], capture_output=True, text=True)


@pytest.mark.parametrize("name", ["maskclippp.data", "maskclippp.engine.main"])
def test_missing_detectron2_says_how_to_get_it(name):
    done = _run(f"import {name}")
    assert done.returncode == 1
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: detectron2 is missing") and "make setup" in last_line


def test_the_package_itself_is_light():
    done = _run("import sys, maskclippp; print('torch' in sys.modules, maskclippp.__version__)")
    assert done.stdout.split()[0] == "False"
