"""Configuration: the table of all keys, the defaults made from it, and the only reader of config files."""

from maskclippp.utils.requirements import require_detectron2

require_detectron2()

from .defaults import default_config  # noqa: E402  (needs detectron2)
from .keys import Key  # noqa: E402
from .load import check_config, load_config  # noqa: E402
from .nodes import TABLE  # noqa: E402

__all__ = ["TABLE", "Key", "check_config", "default_config", "load_config"]
