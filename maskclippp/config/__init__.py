"""Configuration: the closed set of keys with their defaults, and the only reader of config files."""

from maskclippp.utils.requirements import require_detectron2

require_detectron2()

from .defaults import default_config  # noqa: E402  (needs detectron2)
from .load import check_config, load_config  # noqa: E402

__all__ = ["check_config", "default_config", "load_config"]
