"""Golden cases: stored inputs, weights and results of the published code, checked against ours."""

from . import heads, mappers, metrics, models, tasks, text, visual  # noqa: F401  (registers the kinds)
from .run import Report, check_case, check_folder

__all__ = ["Report", "check_case", "check_folder"]
