"""Golden cases: stored inputs, weights and results of the published code, checked against ours."""

from . import (  # noqa: F401  (registers the kinds)
    backbones,
    full,
    generators,
    heads,
    mappers,
    metrics,
    models,
    tasks,
    text,
    visual,
)
from .run import Report, check_case, check_folder

__all__ = ["Report", "check_case", "check_folder"]
