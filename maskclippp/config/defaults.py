"""The default config, made from the table of keys."""

from __future__ import annotations

from copy import deepcopy

from detectron2.config import CfgNode

from .nodes import TABLE


def default_config() -> CfgNode:
    """Return a new config that holds every known key with its default."""
    cfg = CfgNode()
    for key in TABLE.values():
        *parents, leaf = key.name.split(".")
        node = cfg
        for name in parents:
            node = node.setdefault(name, CfgNode())
        node[leaf] = deepcopy(key.default)
    return cfg
