"""Building the method that a config names."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model

from maskclippp.utils.errors import UserError, did_you_mean

from .base import Method


def build_method(cfg: CfgNode) -> Method:
    """Build the method that MODEL.META_ARCHITECTURE names, on MODEL.DEVICE.

    Raises:
        UserError: nothing is registered under that name, what is registered is no method, or its config is wrong.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        valid = [key for key, _ in META_ARCH_REGISTRY]
        raise UserError(f"MODEL.META_ARCHITECTURE '{name}' is not known{did_you_mean(name, valid)}")
    methods = sorted(key for key, kind in META_ARCH_REGISTRY if isinstance(kind, type) and issubclass(kind, Method))
    if name not in methods:
        raise UserError(
            f"MODEL.META_ARCHITECTURE '{name}' is detectron2's own and no method of this framework; choose one of "
            f"{', '.join(methods)}"
        )
    return build_model(cfg)
