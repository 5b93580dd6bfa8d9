"""Wall time and memory of our formulations against the plain ones, A against B in one run."""

from .jobs import JOBS
from .report import run_benchmark, table
from .settings import MODELS, Settings

__all__ = ["JOBS", "MODELS", "Settings", "run_benchmark", "table"]
