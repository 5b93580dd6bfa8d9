"""Parts built from what a case's JSON says."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from detectron2.config import CfgNode

from ...config import default_config


def register_model(model_config: Mapping[str, Any]) -> str:
    """Make open_clip know a model config; return its name, which depends on nothing but the content."""
    text = json.dumps(model_config, sort_keys=True)
    name = f"golden-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.json")
            path.write_text(text, encoding="utf-8")
            open_clip.add_model_config(path)
    return name


def node_from(path: str, values: Mapping[str, Any]) -> CfgNode:
    """Return the defaults of a node such as "MODEL.MASKCLIPPP.PSM", changed by those ``values`` that it knows."""
    node = default_config()
    for key in path.split("."):
        node = node[key]
    for key, value in values.items():
        if key in node:
            node[key] = value
    return node
