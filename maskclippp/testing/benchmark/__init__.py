"""Wall time and memory of our formulations against the plain ones, A against B in one run."""

from .jobs import JOBS, MODELS, Settings
from .report import run_benchmark, table

__all__ = ["JOBS", "MODELS", "Settings", "run_benchmark", "table"]
