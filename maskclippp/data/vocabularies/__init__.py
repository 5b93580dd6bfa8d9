"""Class lists with synonyms, sentence templates, and what counts as seen in training."""

from .matching import comparable_names, same_to_encoder, seen_classes, seen_ignoring_case, spelling_notes
from .vocabulary import (
    Vocabulary,
    builtin_vocabularies,
    load_vocabulary,
    parse_class_list,
    split_synonyms,
)

__all__ = [
    "Vocabulary",
    "builtin_vocabularies",
    "comparable_names",
    "load_vocabulary",
    "parse_class_list",
    "same_to_encoder",
    "seen_classes",
    "seen_ignoring_case",
    "spelling_notes",
    "split_synonyms",
]
