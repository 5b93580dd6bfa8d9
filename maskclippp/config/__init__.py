"""Configuration: the closed set of keys with their defaults, and the only reader of config files."""

from .defaults import default_config
from .load import load_config

__all__ = ["default_config", "load_config"]
