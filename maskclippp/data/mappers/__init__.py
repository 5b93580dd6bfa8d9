"""Mappers: a record becomes a sample, with pictures and annotations read and augmented."""

from .build import MAPPERS, build_mapper
from .inference import InferenceMapper
from .semantic import SemanticMapper

__all__ = ["MAPPERS", "InferenceMapper", "SemanticMapper", "build_mapper"]
