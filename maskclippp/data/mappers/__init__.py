"""Mappers: a record becomes a sample, with pictures and annotations read and augmented."""

from .build import MAPPERS, build_mapper
from .inference import InferenceMapper
from .instance import InstanceJitterMapper, InstanceMapper
from .panoptic import PanopticJitterMapper, PanopticMapper
from .semantic import SemanticMapper

__all__ = [
    "MAPPERS",
    "InferenceMapper",
    "InstanceJitterMapper",
    "InstanceMapper",
    "PanopticJitterMapper",
    "PanopticMapper",
    "SemanticMapper",
    "build_mapper",
]
