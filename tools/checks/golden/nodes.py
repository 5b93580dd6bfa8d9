"""Config nodes from what a case's JSON says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode

from maskclippp.config import default_config


def node_from(path: str, values: Mapping[str, Any]) -> CfgNode:
    """Return the defaults of a node such as "MODEL.MASKCLIPPP.PSM", changed by those ``values`` that it knows."""
    node = default_config()
    for key in path.split("."):
        node = node[key]
    change(node, values)
    return node


def change(node: CfgNode, values: Mapping[str, Any]) -> None:
    """Change those keys of a node, and of the nodes in it, that it knows."""
    for key, value in values.items():
        if isinstance(value, Mapping) and key in node:
            change(node[key], value)
        elif key in node:
            node[key] = value
